package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// usage is what took the processors, in parts of all there is.
type usage struct {
	Service  float64 // with the broker
	Database float64
	Load     float64 // wrk, or vegeta and the publisher
	Idle     float64
	Waiting  float64 // idle, while the disk worked
	Others   float64 // who have nothing to do with it, and the system itself
}

// spare is how much of the processors is left when they count as taken: what wakes up for each request cannot use all.
const spare = 0.15

// String says what was scarce.
func (u usage) String() string {
	scarce := "the processors"
	switch {
	case u.Waiting > spare:
		scarce = "the disk"
	case u.Idle+u.Waiting > spare:
		scarce = "not the processors"
	}
	return fmt.Sprintf("%s: service %.0f %%, database %.0f %%, load %.0f %%, others %.0f %%, idle %.0f %%", scarce,
		100*u.Service, 100*u.Database, 100*u.Load, 100*u.Others, 100*(u.Idle+u.Waiting))
}

// ticks are counters of time on a processor.
type ticks struct{ service, database, load, idle, waiting, total float64 }

// count reads the counters of a service, of its children, which are the database's, and of this process.
func count(service int) (t ticks, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(line)[1:] {
		n, _ := strconv.ParseFloat(field, 64)
		t.total += n
		switch i {
		case 3:
			t.idle = n
		case 4:
			t.waiting = n
		}
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	parent, own := map[int]int{}, map[int]float64{}
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have ended
		_, behind, ok := bytes.Cut(text, []byte(") "))
		fields := strings.Fields(string(behind))
		if !ok || len(fields) < 15 {
			continue
		}
		at := func(i int) float64 { n, _ := strconv.ParseFloat(fields[i], 64); return n }
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent[pid], own[pid] = int(at(1)), at(11)+at(12)
		if pid == os.Getpid() {
			t.load = own[pid] + at(13) + at(14) // with children that have ended: wrk
		}
	}
	t.service = own[service]
	for pid := range parent {
		for above := parent[pid]; above > 0; above = parent[above] {
			if above == service {
				t.database += own[pid]
				break
			}
		}
	}
	return t, err
}

func (t ticks) since(before ticks) usage {
	all := t.total - before.total
	// A process of the database that ended, such as one that vacuumed, took its time along.
	u := usage{Service: (t.service - before.service) / all, Database: max(0, t.database-before.database) / all,
		Load: (t.load - before.load) / all, Idle: (t.idle - before.idle) / all, Waiting: (t.waiting - before.waiting) / all}
	u.Others = max(0, 1-u.Service-u.Database-u.Load-u.Idle-u.Waiting)
	return u
}
