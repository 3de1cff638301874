#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *name;
    double percent;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}};

enum { PERCENTILES = sizeof percentiles / sizeof *percentiles };

/* All operations together. */
static void merge_latencies(const struct tally *tally, struct histogram *all)
{
    histogram_clear(all);
    for (unsigned i = 0; i < OPERATIONS; i++)
        histogram_merge(all, &tally->latency[i]);
}

static double miss_ratio(const struct tally *tally)
{
    const uint64_t asked = tally->hits + tally->misses;
    return asked == 0 ? 0 : (double)tally->misses / (double)asked;
}

static double cpu_s(const struct report *report)
{
    return (double)(report->after.cpu_ns - report->before.cpu_ns) * 1e-9;
}

/* Microseconds of server CPU per key, which is also CPU seconds per million keys. */
static double cpu_us_per_key(const struct report *report)
{
    const uint64_t keys = tally_keys(report->tally);
    return keys == 0 ? 0 : cpu_s(report) * 1e6 / (double)keys;
}

static double per_second(const struct report *report, uint64_t count)
{
    return report->elapsed_s > 0 ? (double)count / report->elapsed_s : 0;
}

static void print_text_latency(const char *name, const struct histogram *histogram)
{
    if (histogram->total == 0)
        return;
    printf("%-8s %12" PRIu64 " %9.1f", name, histogram->total, histogram_mean(histogram) / 1e3);
    for (unsigned i = 0; i < PERCENTILES; i++)
        printf(" %9.1f", (double)histogram_percentile(histogram, percentiles[i].percent) / 1e3);
    printf(" %9.1f\n", (double)histogram->max_ns / 1e3);
}

static void print_text_latencies(const struct tally *tally)
{
    struct histogram all;
    unsigned kinds = 0;
    printf("%-8s %12s %9s %9s %9s %9s %9s %9s   microseconds\n", "", "requests", "mean", "p50",
           "p90", "p99", "p99.9", "max");
    for (unsigned i = 0; i < OPERATIONS; i++) {
        kinds += tally->latency[i].total > 0;
        print_text_latency(operation_name((enum operation)i), &tally->latency[i]);
    }
    merge_latencies(tally, &all);
    if (kinds > 1)
        print_text_latency("all", &all);
}

static void print_text_failures(const struct tally *tally)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < FAILURES; i++)
        sum += tally->failures[i];
    if (sum == 0) {
        printf("failures: none\n");
        return;
    }
    printf("failures:");
    for (unsigned i = 0; i < FAILURES; i++)
        if (tally->failures[i] > 0)
            printf(" %" PRIu64 " %s", tally->failures[i], failure_name((enum failure)i));
    printf(", the first: %s\n", tally->first_failure);
}

void report_print_text(const struct report *report)
{
    const struct tally *tally = report->tally;
    const uint64_t keys = tally_keys(tally);
    const uint64_t requests = tally_requests(tally);
    printf("%" PRIu64 " requests, %" PRIu64 " keys in %.3f s: %.0f requests/s, %.0f keys/s\n",
           requests, keys, report->elapsed_s, per_second(report, requests),
           per_second(report, keys));
    print_text_latencies(tally);
    if (tally->keys[OPERATION_GET] > 0)
        printf("gets: %" PRIu64 " hits, %" PRIu64 " misses (%.4f), %" PRIu64 " set again\n",
               tally->hits, tally->misses, miss_ratio(tally), tally->fills);
    if (tally->absent > 0)
        printf("deletes and incrs of absent keys: %" PRIu64 "\n", tally->absent);
    printf("bytes: %" PRIu64 " sent, %" PRIu64 " received, %" PRIu64 " of them in values\n",
           tally->sent_bytes, tally->received_bytes, tally->value_bytes);
    if (report->has_usage)
        printf("server: %.3f CPU seconds, %.3f per million keys; resident %.1f MB (peak %.1f MB)\n",
               cpu_s(report), cpu_us_per_key(report), (double)report->after.resident_bytes / 1e6,
               (double)report->after.resident_peak_bytes / 1e6);
    print_text_failures(tally);
}

static void print_json_latency(const char *name, const struct histogram *histogram)
{
    printf("\"%s\": {\"count\": %" PRIu64 ", \"mean\": %.3f", name, histogram->total,
           histogram_mean(histogram) / 1e3);
    for (unsigned i = 0; i < PERCENTILES; i++)
        printf(", \"%s\": %.3f", percentiles[i].name,
               (double)histogram_percentile(histogram, percentiles[i].percent) / 1e3);
    printf(", \"max\": %.3f}", (double)histogram->max_ns / 1e3);
}

static void print_json_latencies(const struct tally *tally)
{
    struct histogram all;
    merge_latencies(tally, &all);
    printf(" \"latency_us\": {");
    for (unsigned i = 0; i < OPERATIONS; i++) {
        if (tally->latency[i].total == 0)
            continue;
        print_json_latency(operation_name((enum operation)i), &tally->latency[i]);
        printf(",\n  ");
    }
    print_json_latency("all", &all);
    printf("},\n");
}

/* Server words come from the wire: nothing in them may end the string. */
static void print_json_string(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\')
            printf("\\u%04x", byte);
        else
            putchar(byte);
    }
    putchar('"');
}

static void print_json_failures(const struct report *report)
{
    const struct tally *tally = report->tally;
    printf(" \"failures\": {");
    for (unsigned i = 0; i < FAILURES; i++)
        printf("\"%s\": %" PRIu64 ", ", failure_name((enum failure)i), tally->failures[i]);
    printf("\"first\": ");
    print_json_string(tally->first_failure);
    printf("},\n \"clean\": %s}\n",
           tally_is_clean(tally, report->options->allows_refusals) ? "true" : "false");
}

void report_print_json(const struct report *report)
{
    const struct tally *tally = report->tally;
    const uint64_t keys = tally_keys(tally);
    const uint64_t requests = tally_requests(tally);
    printf("{\"elapsed_s\": %.6f,\n", report->elapsed_s);
    printf(" \"requests\": %" PRIu64 ", \"requests_per_s\": %.1f,\n", requests,
           per_second(report, requests));
    printf(" \"keys\": %" PRIu64 ", \"keys_per_s\": %.1f,\n", keys, per_second(report, keys));
    printf(" \"hits\": %" PRIu64 ", \"misses\": %" PRIu64 ", \"miss_ratio\": %.6f,\n", tally->hits,
           tally->misses, miss_ratio(tally));
    printf(" \"fills\": %" PRIu64 ", \"absent\": %" PRIu64 ",\n", tally->fills, tally->absent);
    printf(" \"sent_bytes\": %" PRIu64 ", \"received_bytes\": %" PRIu64
           ", \"value_bytes\": %" PRIu64 ",\n",
           tally->sent_bytes, tally->received_bytes, tally->value_bytes);
    print_json_latencies(tally);
    if (report->has_usage)
        printf(
            " \"server\": {\"cpu_s\": %.6f, \"cpu_us_per_key\": %.5f, \"resident_bytes\": %" PRIu64
            ", \"resident_peak_bytes\": %" PRIu64 "},\n",
            cpu_s(report), cpu_us_per_key(report), report->after.resident_bytes,
            report->after.resident_peak_bytes);
    print_json_failures(report);
}
