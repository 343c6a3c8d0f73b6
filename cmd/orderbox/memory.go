package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// leastMemory is the least that a size can be. Below that somebody forgot the unit.
const leastMemory = 1 << 20

// memorySize is a number of bytes, given as 512MiB; 0 is none.
type memorySize int64

// UnmarshalText reads 512MiB, 2GiB, and 1048576.
func (s *memorySize) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "KMGiB")
	shift, known := map[string]int{"": 0, "KiB": 10, "MiB": 20, "GiB": 30}[strings.TrimPrefix(string(text), digits)]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !known || err != nil || n < 0 || n > math.MaxInt64>>shift || n<<shift < leastMemory {
		return fmt.Errorf("%q is no size of 1MiB or more: it is given as 512MiB or 2GiB", text)
	}
	*s = memorySize(n << shift)
	return nil
}
