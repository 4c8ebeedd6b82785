/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Gives back what work needed that is over: the pages of program and libraries that nothing has written to, free memory of the
 * heap, and the stack below the caller. What is used again comes back from the page cache (file) or empty (heap, stack), page by
 * page, so afterwards the process has mapped what it works with and not what the loader, the readers of configuration, the
 * builders of filters or a flood of requests walked through. Memory that is in use does not change. Costs some hundred
 * microseconds, and as much again when work comes back: called when start-up is over, and when a process has had nothing to do
 * for PAGES_QUIET_MSEC after it had something. From the main thread only. */
void pages_give_back(void);

/* Longer than a kubelet's pause between two looks at everything (1 s), so that a node at work does not pay for it again and
 * again. */
#define PAGES_QUIET_MSEC 1500
