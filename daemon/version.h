/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/version.h — what this program calls itself. */
#ifndef OBSCURA_DAEMON_VERSION_H
#define OBSCURA_DAEMON_VERSION_H

#define OBSCURA_VERSION "0.1.0"

#endif
