// Command orderbox receives orders from a NATS Streaming channel, keeps every message, makes tables of
// them and answers questions about them. See the README for its commands.
package main

import (
	"github.com/alecthomas/kong"
	"github.com/willabides/kongplete"

	"orderbox/internal/cli"
)

// commands is the command tree. Flags, environment names, defaults and help stand in the struct of each
// command and nowhere else.
type commands struct {
	Up          upCommand          `cmd:"" help:"Run everything on this machine, with nothing to set up."`
	Serve       serveCommand       `cmd:"" help:"Run the stages against a broker and a database that exist."`
	Migrate     migrateCommand     `cmd:"" help:"Create or upgrade the database, its roles and its tables."`
	Replay      replayCommand      `cmd:"" help:"Judge the whole log again, beside what is in service."`
	DeadLetters deadLettersCommand `cmd:"" name:"dead-letters" help:"See what was refused and why, and decide about it."`
	Verify      verifyCommand      `cmd:"" help:"Check the laws on the live data and print the balance."`
	Archive     archiveCommand     `cmd:"" help:"Take old months out of the log, into compressed files."`
	Restore     restoreCommand     `cmd:"" help:"Put archived months back into the log."`
	Cutover     cutoverCommand     `cmd:"" help:"Copy a STAN channel to JetStream while producers move, and prove that nothing is lost."`
	Ready       readyCommand       `cmd:"" help:"Ask a running service whether it is fit to serve."`
	Completion  completionCommand  `cmd:"" help:"Print what makes your shell complete this program's commands and flags."`

	Version kong.VersionFlag `help:"Say which version this is."`
}

type completionCommand struct{}

// Help is the text behind --help.
func (completionCommand) Help() string {
	return `For bash, zsh and fish, whichever your login shell is. The program must be on the PATH under its name.

Examples:
  eval "$(orderbox completion)"
  orderbox completion >> ~/.bashrc
  orderbox completion > ~/.config/fish/completions/orderbox.fish`
}

// Run prints the line for the shell.
func (completionCommand) Run(parsed *kong.Context) error {
	return new(kongplete.InstallCompletions).BeforeApply(parsed)
}

func main() {
	cli.Main(new(commands), options()...)
}

func options() []kong.Option {
	return []kong.Option{
		kong.Name("orderbox"),
		kong.Description(`Orders from a NATS Streaming channel: every message kept, every verdict inspectable, every order at hand.

Examples:
  orderbox up
  orderbox verify --deep
  orderbox dead-letters groups`),
	}
}
