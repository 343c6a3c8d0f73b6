package query

const (
	kindRetry   = "retry"
	kindAmend   = "amend"
	kindDiscard = "discard"
	kindReopen  = "reopen"
)

func (p params) said() string { return "" }
