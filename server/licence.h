/* The text of the file LICENSE, for -i. */
#ifndef SERVER_LICENCE_H
#define SERVER_LICENCE_H

extern const char licence_text[];

#endif
