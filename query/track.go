package query

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/static"
)

const (
	// tracksOnPage is how many orders of a track number are listed, the latest.
	tracksOnPage = 50
	// maxTracks bounds the searches that ask the database at a time, which anybody may begin: the follower needs
	// connections as well.
	maxTracks = 2
	// trackTimeout is how long a search waits, for its turn and for the answer.
	trackTimeout = 2 * time.Second
)

// tracksView is what pages/tracks.html reads.
type tracksView struct {
	frame
	Track  string
	Orders []orderLine
	More   bool // than are listed
}

const findTracksSQL = `
select order_uid
from orders
where track_number = $1
order by position desc
limit $2`

// findTracks returns the orders of a track number, which several may have, the latest first; at most one more than
// a page lists. The cache knows orders by their ids, so this asks the database, and on the way for those that the cache leaves out.
func (s *Server) findTracks(ctx context.Context, track string) (found []orderLine, err error) {
	ctx, cancel := context.WithTimeout(ctx, trackTimeout)
	defer cancel()
	if err := s.tracks.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.tracks.Release(1)
	c := s.cache()
	err = inGeneration(ctx, s.pool, func(tx pgx.Tx, _ generation) error {
		rows, err := tx.Query(ctx, findTracksSQL, track, tracksOnPage+1)
		if err != nil {
			return err
		}
		uids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, uid := range uids {
			complete := c.complete.Load()
			e, ok := c.get(uid)
			if !ok && !(complete && c.holdsAll()) {
				e, ok, err = readOrder(ctx, tx, uid)
			}
			if err != nil {
				return err
			}
			if !ok {
				continue // it is visible in a moment
			}
			o, err := decode(e)
			if err != nil {
				return err
			}
			found = append(found, newOrderLine(o))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the orders of a track number: %w", err)
	}
	return found, nil
}

// searchTrack answers a search for what is no order's id, and returns notFound when it is no track number either.
func (s *Server) searchTrack(w http.ResponseWriter, r *http.Request, track string, notFound error) error {
	found, err := s.findTracks(r.Context(), track)
	switch {
	case err != nil && asProblem(err).Status == http.StatusServiceUnavailable:
		return unavailable("No order has this id. Whether it is a track number is not known: the database does not answer.")
	case err != nil:
		return err
	case len(found) == 0:
		return notFound
	case len(found) == 1:
		http.Redirect(w, r, found[0].Link, http.StatusSeeOther)
		return nil
	}
	view := tracksView{frame: s.frame(r, static.Say("Track number %s", track)), Track: track, Orders: found}
	view.Query, view.Here = track, r.URL.RequestURI()
	if len(found) > tracksOnPage {
		view.Orders, view.More = found[:tracksOnPage], true
	}
	return s.writePage(w, r, http.StatusOK, "tracks", view)
}
