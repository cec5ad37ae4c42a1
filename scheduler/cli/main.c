/* muster: the command that users and admins type. Read command.c next; each subcommand is a file of its name. */
#include <locale.h>
#include <stdio.h>

#include "scheduler/cli/command.h"

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, "");   /* for the width of what is printed; numbers and messages stay as they are */
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);   /* whole lines, also when several programs share a terminal */
    return command_main(argc, argv);
}
