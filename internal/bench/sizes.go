package main

import "time"

// sizes are how much is measured.
type sizes struct {
	rounds   int
	Messages int           // in a round of ingest, project or growth
	Whole    int           // messages in a round of whole
	few      int           // orders in the small database
	many     int           // in the large one
	most     int           // in the large one at its end
	latency  time.Duration // of publishing at a rate
	Load     time.Duration // of one measurement over HTTP
}

func sizesOf(short bool) sizes {
	if short {
		return sizes{rounds: 3, Messages: 10_000, Whole: 10_000, few: 5_000, many: 40_000, most: 60_000,
			latency: 3 * time.Second, Load: time.Second}
	}
	return sizes{rounds: 5, Messages: 50_000, Whole: 50_000, few: 100_000, many: 1_000_000, most: 2_000_000,
		latency: 20 * time.Second, Load: 8 * time.Second}
}
