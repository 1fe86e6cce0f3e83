package vulndb

import (
	"errors"
	"fmt"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
)

// CheckAge returns an *UnusableError if the build of the database or the data of any provider is
// older than maxAge. The error names the oldest of them. A fresh build of old data counts as old. A
// missing date is also an error.
//
// A date that is further in the future than clock.Skew is an error, too: the clock of this machine
// or of the machine that built the database is wrong.
func CheckAge(info evidence.Database, maxAge time.Duration, now time.Time) error {
	oldest, when := "the build", info.Built
	if err := checkDate(oldest, when, now); err != nil {
		return err
	}
	if len(info.Providers) == 0 {
		return tooOld(errors.New("no provider in the database states when its data was captured"))
	}
	for _, p := range info.Providers {
		what := fmt.Sprintf("the data of provider %q", p.Name)
		if err := checkDate(what, p.Captured, now); err != nil {
			return err
		}
		if p.Captured.Before(when) {
			oldest, when = what, p.Captured
		}
	}
	if age := now.Sub(when); age > maxAge {
		return tooOld(fmt.Errorf("%s is from %s, %s ago; the maximum age is %s",
			oldest, when.UTC().Format(time.RFC3339), age.Round(time.Minute), maxAge))
	}
	return nil
}

func checkDate(what string, when, now time.Time) error {
	if when.IsZero() {
		return tooOld(fmt.Errorf("%s has no date", what))
	}
	if clock.IsAhead(when, now) {
		return &UnusableError{Problem: FromFuture, Err: fmt.Errorf("%s is dated %s, but the clock of this machine shows %s",
			what, when.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))}
	}
	return nil
}

func tooOld(err error) error { return &UnusableError{Problem: TooOld, Err: err} }
