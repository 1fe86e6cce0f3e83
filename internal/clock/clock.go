// Package clock holds the one tolerance for clocks of other machines. It does not
// read a clock: the time is given to those who need it.
package clock

import "time"

// Skew is how far ahead of this machine's clock the clock of another machine may be: a
// time up to Skew in the future is accepted, and a later one is not. It applies to every
// time that another machine wrote: databases and their data, images, VEX statements,
// signed decisions and overrides.
//
// Machines that synchronize their clocks differ by seconds. Ten minutes also cover a
// virtual machine that has just resumed. The tolerance has a price: whoever can date a
// database or a decision can make it look younger by Skew, so it is small compared with
// the shortest useful maximum age, one hour.
const Skew = 10 * time.Minute

// IsAhead reports whether a time is further in the future than another machine's clock
// may be.
func IsAhead(t, now time.Time) bool { return t.After(now.Add(Skew)) }
