//go:build unix && !linux

package local

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// processAttributes are those of PostgreSQL's processes: run as who (nil: as we are), and in a process
// group of their own, so that Ctrl-C on the terminal does not reach PostgreSQL before the service has
// finished what is in hand. There is no parent-death signal here: after kill -9 the next start finds
// the server running and stops it.
func processAttributes(who *account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: who.credential()}
}

// isServerOn says whether process pid is a PostgreSQL server that was started here on data.
func isServerOn(pid int, data string) bool {
	commandLine, err := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(commandLine), " -D "+data+" ")
}
