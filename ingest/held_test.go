package ingest

import (
	"testing"

	"orderbox/internal/testservers"
)

func TestTheBrokerIsAskedWhatItHasAndNothingIsTaken(t *testing.T) {
	t.Parallel()
	pool, broker, channel := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.Broker(t), testservers.Channel(t)
	o := Options{URL: broker.URL, Cluster: broker.Cluster, Channel: channel, ClientID: "asks-" + channel}
	mustPublish(t, broker, channel, numbered(1, 30)...)
	held, err := Ask(t.Context(), o)
	if err != nil || held.Source != "stan" || held.Channel != channel || held.First != 1 || held.Last != 30 || held.Since.IsZero() {
		t.Errorf("it has %+v, %v", held, err)
	}
	mustStart(t, pool, broker, channel)
	mustHold(t, pool, numbered(1, 30))

	jet := testservers.OwnBroker(t)
	if held, err := Ask(t.Context(), jetOptions(jet)); err == nil {
		t.Errorf("without a stream: %+v", held)
	}
	mustStream(t, jet, numbered(1, 20)...)
	held, err = Ask(t.Context(), jetOptions(jet))
	if err != nil || held.Source != "jetstream" || held.First != 1 || held.Last != 20 || !held.Since.IsZero() {
		t.Errorf("the stream has %+v, %v", held, err)
	}
}
