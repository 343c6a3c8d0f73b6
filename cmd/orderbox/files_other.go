//go:build !unix

package main

import "math"

func maxOpenFiles() int { return math.MaxInt }
