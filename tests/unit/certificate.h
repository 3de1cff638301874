/* Certificates made on the fly.  Every failure fails the test. */
#ifndef TESTS_UNIT_CERTIFICATE_H
#define TESTS_UNIT_CERTIFICATE_H

/* Where a certificate and its key lie, as PEM. */
struct certificate_files {
    char certificate[128], key[128];
};

/* Writes to these files a certificate for a common name, signed by the authority, or by itself if
 * that is NULL, and its key. */
void certificate_make(const char *name, const struct certificate_files *authority,
                      const struct certificate_files *);

#endif
