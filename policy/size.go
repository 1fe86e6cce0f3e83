package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/imagegate/imagegate/internal/strict"
)

// ByteSize is a size in bytes. In the file it has a unit: B; kB, MB, GB or TB, which are powers of
// 1000; or KiB, MiB, GiB or TiB, which are powers of 1024.
type ByteSize int64

// sizeUnits lists the units, in the order that parseSize tries them. "MB" comes before "B", because
// it ends with "B".
var sizeUnits = []struct {
	name string
	size int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// String returns the size in the largest unit that divides it evenly.
func (s ByteSize) String() string {
	best, value := "B", int64(s)
	for _, u := range sizeUnits {
		if v := int64(s) / u.size; int64(s)%u.size == 0 && v != 0 && v < value {
			best, value = u.name, v
		}
	}
	return strconv.FormatInt(value, 10) + best
}

// parseSize reads a whole number with a unit. Zero is an error.
func parseSize(s string) (ByteSize, error) {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strict.ParseCount(strings.TrimSuffix(number, " "))
		switch {
		case err != nil:
			return 0, fmt.Errorf("%q is not a size: expected a value such as 500MB or 2GiB", s)
		case n == 0:
			return 0, fmt.Errorf("%q is not more than zero", s)
		case int64(n) > math.MaxInt64/u.size:
			return 0, fmt.Errorf("%q is too large", s)
		}
		return ByteSize(int64(n) * u.size), nil
	}
	return 0, fmt.Errorf("%q is not a size: expected a value such as 500MB or 2GiB", s)
}
