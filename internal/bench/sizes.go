package main

import "time"

// sizes are how much is measured.
type sizes struct {
	rounds   int
	messages int           // in a round of ingest, project or growth
	whole    int           // messages in a round of whole
	few      int           // orders in the small database
	many     int           // in the large one
	most     int           // in the large one at its end
	latency  time.Duration // of publishing at a rate
	load     time.Duration // of one measurement over HTTP
}

func sizesOf(short bool) sizes {
	if short {
		return sizes{rounds: 3, messages: 10_000, whole: 10_000, few: 5_000, many: 40_000, most: 60_000,
			latency: 5 * time.Second, load: 2 * time.Second}
	}
	return sizes{rounds: 5, messages: 50_000, whole: 50_000, few: 100_000, many: 1_000_000, most: 2_000_000,
		latency: 20 * time.Second, load: 8 * time.Second}
}
