/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Gives back what only the start of a process needed: the pages of program and libraries that nothing has written to, and
 * free memory of the heap. What is used again comes back from the page cache, page by page, so afterwards the process has
 * mapped what it works with and not what the loader, the readers of configuration and the builders of filters walked through.
 * Called once, when start-up is over; costs some hundred microseconds. Memory that is in use does not change. */
void pages_give_back(void);
