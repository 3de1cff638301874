#include "server/address.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

unsigned address_split(const struct sockaddr *address, char host[CONNECTION_ADDRESS_BYTES])
{
    static_assert(CONNECTION_ADDRESS_BYTES > INET6_ADDRSTRLEN + 2, "an address with brackets fits");
    const struct sockaddr_in *in = (const void *)address;
    const struct sockaddr_in6 *in6 = (const void *)address;

    host[0] = '\0';
    switch (address->sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &in->sin_addr, host, CONNECTION_ADDRESS_BYTES);
        return ntohs(in->sin_port);
    case AF_INET6:
        host[0] = '[';
        inet_ntop(AF_INET6, &in6->sin6_addr, host + 1, CONNECTION_ADDRESS_BYTES - 2);
        strcat(host, "]");
        return ntohs(in6->sin6_port);
    default: return 0;
    }
}

void address_describe(enum connection_transport transport, const struct sockaddr *address,
                      char text[CONNECTION_ADDRESS_BYTES])
{
    static_assert(CONNECTION_ADDRESS_BYTES > sizeof(struct sockaddr_un) + 5, "a path fits");
    const struct sockaddr_un *un = (const void *)address;
    char host[CONNECTION_ADDRESS_BYTES];

    if (transport == TRANSPORT_UNIX) {
        bool is_named = address->sa_family == AF_UNIX;
        snprintf(text, CONNECTION_ADDRESS_BYTES, "unix:%.*s",
                 is_named ? (int)sizeof un->sun_path : 0, is_named ? un->sun_path : "");
        return;
    }
    unsigned port = address_split(address, host);
    host[INET6_ADDRSTRLEN + 2] = '\0';
    snprintf(text, CONNECTION_ADDRESS_BYTES, "%s%s:%.50s:%u",
             transport == TRANSPORT_UDP ? "udp" : "tcp",
             address->sa_family == AF_INET6 ? "6" : "", host, port);
}
