/* SPDX-License-Identifier: Apache-2.0 */
#include "services/linkd/linkd.h"

int main(int argc, char **argv)
{
        return linkd_main(argc, argv);
}
