//go:build !linux

package main

import "os"

// forgetPeak does nothing, because peakMemory is unknown.
func forgetPeak() error { return nil }

// peakMemory returns 0, which means unknown, because the units differ between systems.
func peakMemory(*os.ProcessState) int64 { return 0 }
