/* The parts of a membership's encoding, of which its digest is made too; ring/membership.h says
 * what they look like.  Only for ring/membership.c. */
#ifndef RING_MEMBERSHIP_CODEC_H
#define RING_MEMBERSHIP_CODEC_H

#include "ring/membership.h"

/* Returns how many bytes it wrote: at most MEMBERSHIP_RECORD_BYTES. */
size_t membership_encode_record(const struct member_record *,
                                unsigned char out[MEMBERSHIP_RECORD_BYTES]);

/* The digest as it should be. */
uint64_t membership_digest(const struct membership *);

/* Returns how many bytes it wrote: less than MEMBERSHIP_HEADER_BYTES. */
size_t membership_encode_flushes(const struct flush_list *,
                                 unsigned char out[MEMBERSHIP_HEADER_BYTES]);

#endif
