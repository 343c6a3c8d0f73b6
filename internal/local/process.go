package local

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// startProcess starts cmd and returns a channel that gets the result of its Wait.
//
// The goroutine that starts the process keeps its OS thread to itself and waits on it: Linux sends the
// parent-death signal when the *thread* that started the process ends, and the runtime ends threads as
// it likes unless a goroutine is locked to them.
func startProcess(cmd *exec.Cmd) (<-chan error, error) {
	started, exited := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return exited, nil
}

// serverEnvironment is this process's environment without what would bend PostgreSQL's behaviour: the
// caller's PG… variables, and locale settings, which may name locales that this machine does not have.
func serverEnvironment() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "LC_") || name == "LANG" || name == "LANGUAGE"
	})
	return append(env, "LC_ALL=C")
}
