package doctor

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
)

const (
	// slowClock is the clock difference that causes a warning: half of the difference that
	// imagegate tolerates.
	slowClock = clock.Skew / 2
	// wrongClock is the clock difference that is a failure. Registry tokens and Sigstore
	// certificates are valid for minutes to an hour, so a clock that is wrong by this much sees
	// them as expired or not yet valid.
	wrongClock = 3 * clock.Skew
)

// clocks compares the clock of this machine with the Date headers of responses (RFC 9110, section
// 6.6.1). It is safe for concurrent use.
type clocks struct {
	now func() time.Time

	mu    sync.Mutex
	ahead map[string]time.Duration // how far this machine is ahead, by host
}

// watch returns a transport that records the Date header of each response.
func (c *clocks) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		before := c.now()
		resp, err := next.RoundTrip(req)
		if err == nil {
			c.record(req.URL.Host, resp.Header, before, c.now())
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// record compares the Date header of a response with the time halfway through the request. A
// response from a cache is older by its Age header.
func (c *clocks) record(host string, h http.Header, before, after time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	age, _ := strconv.Atoi(h.Get("Age"))
	ahead := before.Add(after.Sub(before) / 2).Sub(date.Add(time.Duration(age) * time.Second))
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, known := c.ahead[host]; !known || ahead.Abs() < have.Abs() {
		c.ahead[host] = ahead
	}
}

// check returns a result about the largest clock difference of all hosts.
func (c *clocks) check() Result {
	r := c.compare()
	r.Name = "clock"
	return r
}

func (c *clocks) compare() Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ahead) == 0 {
		return warned("date -u", "not compared: no server answered with its time")
	}
	hosts := slices.Sorted(maps.Keys(c.ahead))
	worst := slices.MaxFunc(hosts, func(a, b string) int { return int(c.ahead[a].Abs() - c.ahead[b].Abs()) })
	ahead := c.ahead[worst]
	if ahead.Abs() <= slowClock {
		return ok("within %s of %s", max(ahead.Abs().Round(time.Second), time.Second), worst)
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	text := fmt.Sprintf("the clock of this machine is %s %s the clock of %s", ahead.Abs().Round(time.Minute), direction, worst)
	if ahead.Abs() < wrongClock {
		return warned(clockCommand(), "%s", text)
	}
	return failed(errors.New(text+": tokens and certificates look expired or not yet valid"), clockCommand())
}

// clockCommand returns the command that sets the clock from the network.
func clockCommand() string {
	switch runtime.GOOS {
	case "windows":
		return "w32tm /resync"
	case "darwin":
		return "sudo sntp -sS time.apple.com"
	}
	return "sudo timedatectl set-ntp true"
}
