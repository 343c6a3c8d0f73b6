package local

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Lock takes the right to use dir alone, which is made when missing, and does not wait for it: when another
// process has it, the error says what to do. Unlock gives it back, and so does the kernel when this process
// ends, however it ends.
func Lock(dir string) (*flock.Flock, error) {
	// Others may pass through: run as root, PostgreSQL below it is another user.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("another `orderbox up` uses the data directory %s: stop it, or choose another directory with --data", dir)
	}
	return lock, nil
}
