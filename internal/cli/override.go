package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/policy"
)

// overrideKeys are the keys that every --override must have.
var overrideKeys = []string{"reason", "approver", "expires"}

// overrideValue holds the key=value pairs of --override. The value of each flag is one CSV record,
// so that a pair with a comma can be quoted. The flag can be repeated.
type overrideValue map[string]string

func newOverrideFlag() *cli.GenericFlag {
	// The flag deliberately has no environment variable: an override is for one run, and a variable
	// could stay set for later runs.
	return &cli.GenericFlag{Name: "override", Value: overrideValue{}, Usage: "promote a denied image with the override `reason=TEXT,approver=NAME,expires=TIME`; every policy must allow it. If TEXT contains a comma, put \"reason=TEXT\" in double quotes"}
}

// Set adds the pairs of one --override flag. It implements flag.Value.
func (v overrideValue) Set(s string) error {
	r := csv.NewReader(strings.NewReader(s))
	pairs, err := r.Read()
	if err != nil {
		return fmt.Errorf("invalid key=value pairs: %w", err)
	}
	if _, err := r.Read(); !errors.Is(err, io.EOF) {
		return errors.New("the key=value pairs must be in one line")
	}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return fmt.Errorf("%q is not a key=value pair: put a pair that contains a comma in double quotes", pair)
		case !slices.Contains(overrideKeys, key):
			return fmt.Errorf("unknown key %q: must be one of %s", key, strings.Join(overrideKeys, ", "))
		case strings.TrimSpace(value) == "":
			return fmt.Errorf("the value of %s is empty", key)
		case v[key] != "":
			return fmt.Errorf("the key %s appears twice", key)
		}
		v[key] = value
	}
	return nil
}

// String returns the sorted keys that are set. It implements flag.Value.
func (v overrideValue) String() string {
	return strings.Join(slices.Sorted(maps.Keys(v)), ",")
}

// askedOverride returns the override that --override requests, or nil if the flag is not given.
func askedOverride(c *cli.Context) (*policy.Override, error) {
	v, _ := c.Generic("override").(overrideValue)
	if len(v) == 0 {
		return nil, nil
	}
	for _, key := range overrideKeys {
		if v[key] == "" {
			return nil, exit.Usagef("--override: the key %s is missing", key)
		}
	}
	expires, err := flags.Instant(v["expires"], time.Now())
	if err != nil {
		return nil, exit.Usagef("--override: invalid expires %q: %v", v["expires"], err)
	}
	return &policy.Override{Reason: v["reason"], Approver: v["approver"], Expires: expires}, nil
}
