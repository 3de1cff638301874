/* A guess at the key that input begins with, so that what will be looked up can be fetched into the
 * cache ahead of time.
 *
 * Costs a fraction of parsing, and checks nothing: in text and meta it is the second word whatever
 * the first, in binary what the header says.  A wrong guess fetches a line in vain. */
#ifndef PROTOCOL_PEEK_H
#define PROTOCOL_PEEK_H

#include "ring/slice.h"

/* `input` is not empty.  Gives a slice of it, empty when there is no telling. */
struct slice peek_key(struct slice input);

#endif
