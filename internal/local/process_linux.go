package local

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// processAttributes are those of PostgreSQL's processes: run as who (nil: as we are), stopped (SIGINT: a
// fast shutdown) when this process dies, and in a process group of their own, so that Ctrl-C on the
// terminal does not reach PostgreSQL before the service has finished what is in hand.
func processAttributes(who *account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT, Credential: who.credential()}
}

// isServerOn says whether process pid is a PostgreSQL server that was started here on data. A zombie
// is none: it has no command line any more.
func isServerOn(pid int, data string) bool {
	commandLine, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(commandLine, []byte("\x00-D\x00"+data+"\x00"))
}
