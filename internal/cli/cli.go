// Package cli is what the programs' command lines have in common.
//
// In: arguments, the environment and the file that `orderbox up` leaves for the others. Out: a command
// run, or one line that says what is wrong and one that says what to do.
//
// A flag beats the environment, the environment beats the file DATA/env, and that beats the default.
// Exit codes: 0 done, 1 failed, 2 wrong usage.
//
// Concurrency: none; Run is called once.
//
// Not here: the commands themselves (cmd/...).
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/willabides/kongplete"

	"orderbox/internal/envfile"
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// failure is an error with advice to the person at the terminal.
type failure struct {
	err error
	try string // what to do, as a command or a short phrase
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// Try gives an error its advice; nil stays nil.
func Try(err error, advice string) error {
	if err == nil {
		return nil
	}
	return &failure{err, advice}
}

// Main runs the program that grammar describes and ends the process with its exit code. The first SIGINT
// or SIGTERM ends the context that commands get, the second ends the process at once.
func Main(grammar any, options ...kong.Option) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(Run(ctx, os.Args[1:], Streams{os.Stdin, os.Stdout, os.Stderr}, grammar, options...))
}

// exit carries kong's wish to end the program, after --help, out of the parser.
type exit int

// Run parses args by grammar, a pointer to kong's struct of flags and commands, runs the command's method
// Run, which may ask for a context.Context and for Streams, and returns the exit code.
func Run(ctx context.Context, args []string, s Streams, grammar any, options ...kong.Option) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exit:
			code = int(r)
		default:
			panic(r)
		}
	}()
	parser, err := kong.New(grammar, append([]kong.Option{
		kong.Writers(s.Out, s.Err),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s),
		kong.Vars{"version": version()},
		kong.Resolvers(kong.ResolverFunc(fromEnvFile)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
	}, options...)...)
	if err != nil {
		panic(err) // the grammar itself is wrong: a test builds every one
	}
	kongplete.Complete(parser) // when a shell asks
	parsed, err := parser.Parse(args)
	if err != nil {
		advice := parser.Model.Name + " --help"
		if wrong, ok := errors.AsType[*kong.ParseError](err); ok && wrong.Context.Selected() != nil {
			advice = parser.Model.Name + " " + wrong.Context.Selected().Path() + " --help"
		}
		report(s.Err, parser.Model.Name, Try(err, advice))
		return 2
	}
	if err := parsed.Run(); err != nil {
		report(s.Err, parser.Model.Name, err)
		return 1
	}
	return 0
}

// report is the one printer of errors.
func report(w io.Writer, program string, err error) {
	fmt.Fprintf(w, "%s %v\n", Paint(w, Red, program+":"), err)
	if f, ok := errors.AsType[*failure](err); ok {
		fmt.Fprintf(w, "%s %s\n", Paint(w, Bold, "try:"), f.try)
	}
}

// version says which one this program is: a tag or the commit, where it was built from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return path.Base(info.Path) + " " + info.Main.Version + " " + info.GoVersion + " " + runtime.GOOS + "/" + runtime.GOARCH
}

// fromEnvFile takes a flag's value from DATA/env, where DATA is what the flag --data says. kong asks
// after the environment but lets the answer beat it, so there is none for what the environment names.
func fromEnvFile(parsed *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	dir := dataDir(parsed)
	if dir == "" || len(flag.Envs) == 0 || flag.Name == "data" {
		return nil, nil
	}
	file, err := envfile.Read(filepath.Join(dir, "env"))
	if err != nil {
		return nil, err
	}
	if value, ok := file[flag.Envs[0]]; ok {
		return value, nil
	}
	return nil, nil
}

// dataDir is the value of --data, or empty for a command that has no such flag.
func dataDir(parsed *kong.Context) string {
	for _, flag := range parsed.Flags() {
		if flag.Name == "data" {
			dir, _ := parsed.FlagValue(flag).(string)
			return dir
		}
	}
	return ""
}
