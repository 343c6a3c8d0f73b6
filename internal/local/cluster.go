package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// systemDir takes what the user that PostgreSQL runs as could not reach below root's own directories:
// data, and downloaded programs. It may be passed through by everybody and holds private directories.
const systemDir = "/var/lib/orderbox"

// cluster is an initialised data directory.
type cluster struct {
	data     string // free of symbolic links
	password string // the superuser's
	account  *account
}

// openCluster returns the cluster in o.Dir, initialised if it is not there yet, and programs of its
// version.
func openCluster(ctx context.Context, o PostgresOptions, find finder) (cluster, binaries, error) {
	data := filepath.Join(o.Dir, "data")
	who, err := serverAccount(data)
	if err != nil {
		return cluster{}, binaries{}, err
	}
	have, err := dataVersion(data)
	if err != nil {
		return cluster{}, binaries{}, err
	}
	bin, err := find.find(ctx, have)
	if err != nil {
		return cluster{}, binaries{}, err
	}
	if have == 0 {
		o.Log.Info("initialising postgresql", "version", bin.major, "dir", o.Dir)
		if err := initialise(ctx, data, o.Durable, bin, who, o.Log); err != nil {
			return cluster{}, binaries{}, err
		}
	}

	c := cluster{account: who}
	if c.data, err = realPath(data); err != nil {
		return cluster{}, binaries{}, err
	}
	if !who.reaches(filepath.Dir(c.data)) {
		return cluster{}, binaries{}, fmt.Errorf("user %s, whom the data in %s belongs to, cannot reach it: let others pass through the directories above it (chmod a+x)", who.name, c.data)
	}
	password, err := os.ReadFile(passwordPath(c.data))
	if err != nil {
		return cluster{}, binaries{}, fmt.Errorf("read PostgreSQL's password: %w", err)
	}
	c.password = string(password)
	return c, bin, nil
}

// passwordPath is where the superuser's password is: among the data, so that there is never the one
// without the other. PostgreSQL lets nobody but its user into that directory.
func passwordPath(data string) string { return filepath.Join(data, "orderbox.password") }

// dataVersion is the PostgreSQL version that the data is of, 0 when there is no data yet.
func dataVersion(data string) (int, error) {
	if _, err := os.Lstat(data); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	switch target, linkErr := os.Readlink(data); {
	case errors.Is(err, fs.ErrNotExist) && linkErr == nil:
		return 0, fmt.Errorf("%s points to PostgreSQL's data in %s, which is gone: bring it back, or remove the link to begin with an empty database", data, target)
	case errors.Is(err, fs.ErrPermission):
		return 0, fmt.Errorf("the PostgreSQL data in %s belongs to another user: run this as the user who did first, or choose another directory: %w", data, err)
	case err != nil:
		return 0, fmt.Errorf("%s is no PostgreSQL data directory: %w", data, err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("version of the PostgreSQL data in %s: %w", data, err)
	}
	return version, nil
}

// initialise makes the cluster under another name and renames it to data as the last step: data is
// there either whole or not at all, and the remains of an interrupted run are thrown away by the next.
func initialise(ctx context.Context, data string, durable bool, bin binaries, who *account, log *slog.Logger) error {
	work := data + ".init"
	if err := discard(work); err != nil {
		return fmt.Errorf("remove the remains of an interrupted initialisation: %w", err)
	}
	real, err := makeDataDir(work, who)
	if err != nil {
		return fmt.Errorf("make PostgreSQL's data directory: %w", err)
	}
	if real != work {
		log.Info("postgresql runs as another user, who cannot reach the data directory: its data is kept elsewhere", "user", who.name, "data", real)
	}

	password := rand.Text()
	if err := initdb(ctx, real, password, durable, bin, who); err != nil {
		return errors.Join(err, discard(work))
	}
	if err := writeOwned(passwordPath(real), password, who); err != nil {
		return fmt.Errorf("keep PostgreSQL's password: %w", err)
	}
	if err := os.Rename(work, data); err != nil {
		return fmt.Errorf("finish PostgreSQL's data directory: %w", err)
	}
	return syncFile(filepath.Dir(data))
}

// discard removes a directory made by makeDataDir, and what it links to.
func discard(work string) error {
	if target, err := os.Readlink(work); err == nil && filepath.Dir(target) == systemDir {
		if err := errors.Join(os.RemoveAll(target), os.RemoveAll(passwordInput(target))); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(work), os.RemoveAll(passwordInput(work)))
}

// makeDataDir makes the empty directory work for who, or, where who cannot reach that, a symbolic link
// work to a directory in systemDir. It returns the directory itself.
func makeDataDir(work string, who *account) (string, error) {
	if who.reaches(filepath.Dir(work)) {
		if err := os.Mkdir(work, 0o700); err != nil {
			return "", err
		}
		return work, who.own(work)
	}
	if err := os.MkdirAll(systemDir, 0o711); err != nil {
		return "", err
	}
	target, err := os.MkdirTemp(systemDir, "postgres-")
	if err != nil {
		return "", err
	}
	if err := os.Symlink(target, work); err != nil {
		return "", errors.Join(err, os.Remove(target))
	}
	return target, who.own(target)
}

func initdb(ctx context.Context, data, password string, durable bool, bin binaries, who *account) error {
	input := passwordInput(data)
	if err := writeOwned(input, password, who); err != nil {
		return fmt.Errorf("hand initdb the password: %w", err)
	}
	defer os.Remove(input)

	arguments := []string{
		"--pgdata", data,
		"--username", superuser,
		"--pwfile", input,
		"--auth", "scram-sha-256",
		"--encoding", "UTF8",
		// C: order by bytes, the same on every system and after every upgrade of its C library, so that
		// no index goes wrong and no list is sorted differently elsewhere.
		"--locale", "C",
		"--data-checksums",
		"--no-instructions",
	}
	if !durable {
		arguments = append(arguments, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin.dir, "initdb"), arguments...)
	cmd.Dir = data // initdb wants to be where it may be
	cmd.Env = serverEnvironment()
	cmd.SysProcAttr = processAttributes(who)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	exited, err := startProcess(cmd)
	if err == nil {
		err = <-exited
	}
	if err != nil {
		return fmt.Errorf("initialise PostgreSQL's data (initdb): %w: %s", err, strings.ReplaceAll(strings.TrimSpace(output.String()), "\n", " | "))
	}
	return nil
}

// passwordInput is the file that initdb reads the password from: beside the data directory, which must
// be empty, and where the server's user can reach it.
func passwordInput(data string) string { return data + ".password" }

// writeOwned writes a file that only who can read, and syncs it.
func writeOwned(path, text string, who *account) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return who.own(path)
}

// syncFile makes what was done to a file or directory survive a crash of the machine.
func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
