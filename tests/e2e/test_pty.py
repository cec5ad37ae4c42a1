"""`muster run --pty`: a shell on a node, as if one sat there."""

import os
import pty
import select
import signal
import struct
import fcntl
import termios
import time

from cluster import BIN, check, contains, equal, main, wait_for


class Terminal:
    """muster run --pty on a terminal of our own."""

    def __init__(self, c, *command, rows=33, columns=101):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(c.work)
            if c.user:
                os.setgroups([])
                os.setgid(c.user.pw_gid)
                os.setuid(c.user.pw_uid)
            # The new terminal's size is set before anybody asks for it.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(f"{BIN}/muster", ["muster", "run", "--pty", "--", *command], c.environment(TERM="dumb"))
        self.text = ""

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def read(self, seconds=0.2):
        while select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            if not data:
                break
            self.text += data.decode(errors="replace")
        return self.text

    def expect(self, part, seconds=15):
        wait_for(lambda: part in self.read(), seconds, f"{part!r} on the terminal; it shows {self.text[-300:]!r}")

    def end(self, seconds=15):
        def ended():
            self.read(0)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return pid and [os.waitstatus_to_exitcode(status)]
        code = wait_for(ended, seconds, f"muster run ends; it shows {self.text[-300:]!r}")[0]
        self.read(0)
        os.close(self.fd)
        return code


def a_shell_answers_and_gives_its_code(c):
    t = Terminal(c, "sh", "-i")
    t.type("tty; echo sum $((20 + 22)); exit 6\n")
    t.expect("sum 42")
    equal(t.end(), 6, "exit code")
    contains(t.text, "/dev/pts/", "it has a terminal")


def the_window_size_is_passed_on(c):
    t = Terminal(c, "sh", "-c", "stty size; sleep 1; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.1; done")
    t.expect("33 101")
    t.expect("ready")
    fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 80, 0, 0))
    os.kill(t.pid, signal.SIGWINCH)
    t.expect("44 80")
    equal(t.end(), 0, "exit code")


def control_c_reaches_the_job(c):
    t = Terminal(c, "sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done")
    t.expect("ready")
    t.type("\x03")
    t.expect("caught")
    equal(t.end(), 3, "exit code")


def a_lost_terminal_harms_nobody(c):
    t = Terminal(c, "sh", "-c", "echo ready; sleep 1000")
    t.expect("ready")
    job = max(j["id"] for j in c.json("jobs")["jobs"])
    os.kill(t.pid, signal.SIGKILL)
    os.waitpid(t.pid, 0)
    os.close(t.fd)
    row = c.show(job)
    check(row["state"] in ("RUNNING", "STOPPING", "CANCELLED", "FAILED"), f"state {row['state']}")
    time.sleep(1)
    c.muster("cancel", job, code=None)
    c.wait_final(job)


if __name__ == "__main__":
    main([a_shell_answers_and_gives_its_code, the_window_size_is_passed_on, control_c_reaches_the_job, a_lost_terminal_harms_nobody],
         1, "2")
