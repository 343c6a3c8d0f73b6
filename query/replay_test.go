package query

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestAReplayIsOrderedOverHTTPByAnOperatorOnly(t *testing.T) {
	t.Parallel()
	var asked []string
	note := func(what string, err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) {
			asked = append(asked, what)
			return "generation_2", err
		}
	}
	s := newServer(t, newProjection(t), Options{Tokens: []Token{{"ann", "right"}}, Replays: &Replays{
		Order:        note("order", nil),
		RollBack:     note("rollback", Refusal{"There is nothing to go back to."}),
		Cancel:       func(context.Context) (bool, error) { return false, nil },
		DropPrevious: func(context.Context) (bool, error) { return false, errors.New("the database is away") },
		Progress:     func(context.Context) (Replay, error) { return Replay{Generation: "generation_2", Head: 7}, nil },
	}})
	var now Replay
	if err := json.Unmarshal(body(t, http.StatusOK, operatorGet(t, s, "/api/v1/replay")), &now); err != nil || now.Head != 7 {
		t.Errorf("progress %+v, %v", now, err)
	}
	for path, status := range map[string]int{"order": 200, "rollback": 409, "cancel": 409, "drop-previous": 500} {
		path = "/api/v1/replay/" + path
		if r := do(t, s, http.MethodPost, path); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, r.StatusCode)
		}
		if r := do(t, s, http.MethodPost, path, "Authorization", "Bearer right"); r.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, status)
		}
	}
	if len(asked) != 2 {
		t.Errorf("asked for %v", asked)
	}

	page := string(body(t, http.StatusOK, operatorGet(t, s, "/replay")))
	if !strings.Contains(page, `id="replay" class="live" data-live="running"`) || !strings.Contains(page, "generation_2") || strings.Contains(page, "Go back to") {
		t.Errorf("the page while a replay is under way:\n%s", page)
	}
	if r := do(t, s, http.MethodPost, "/replay/order", "Authorization", "Bearer right"); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/replay?done=order" {
		t.Errorf("the form: %d, to %s", r.StatusCode, r.Header.Get("Location"))
	}
	if r := do(t, s, http.MethodPost, "/replay/order", "Authorization", "Bearer right", "Origin", "https://elsewhere.example"); r.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %d", r.StatusCode)
	}
}
