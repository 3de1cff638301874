#include "tests/unit/certificate.h"
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

/* An issuer's name and key. */
struct issuer {
    X509 *certificate;
    EVP_PKEY *key;
};

static struct issuer read_issuer(const struct certificate_files *files)
{
    struct issuer issuer;
    FILE *file = fopen(files->certificate, "r");

    assert_non_null(file);
    issuer.certificate = PEM_read_X509(file, NULL, NULL, NULL);
    assert_non_null(issuer.certificate);
    fclose(file);
    file = fopen(files->key, "r");
    assert_non_null(file);
    issuer.key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    assert_non_null(issuer.key);
    fclose(file);
    return issuer;
}

static void write_files(const struct certificate_files *files, X509 *certificate, EVP_PKEY *key)
{
    FILE *file = fopen(files->certificate, "w");

    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    file = fopen(files->key, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

/* It may sign other certificates. */
static void allow_signing(X509 *certificate)
{
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

void certificate_make(const char *name, const struct certificate_files *authority,
                      const struct certificate_files *files)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_get_subject_name(certificate);
    struct issuer issuer = {certificate, key};

    assert_non_null(key);
    if (authority != NULL)
        issuer = read_issuer(authority);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    if (authority == NULL)
        allow_signing(certificate);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer.certificate));
    assert_true(X509_sign(certificate, issuer.key, EVP_sha256()) > 0);
    write_files(files, certificate, key);
    if (authority != NULL) {
        X509_free(issuer.certificate);
        EVP_PKEY_free(issuer.key);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}
