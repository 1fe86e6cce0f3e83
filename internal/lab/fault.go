package lab

import (
	"fmt"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Hook sees a request before the registry does. True means that it has
// answered; false passes the request on, perhaps later or with a damaged
// answer. Hooks are called concurrently, and must return when the request's
// context ends.
type Hook func(w http.ResponseWriter, r *http.Request) bool

// Fail answers with this status and an error body as the distribution
// specification has it.
func Fail(status int) Hook {
	code := map[int]string{
		http.StatusUnauthorized:    "UNAUTHORIZED",
		http.StatusForbidden:       "DENIED",
		http.StatusNotFound:        "MANIFEST_UNKNOWN",
		http.StatusTooManyRequests: "TOOMANYREQUESTS",
	}[status]
	if code == "" {
		code = "UNKNOWN"
	}
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, http.StatusText(status))
		}
		return true
	}
}

// RateLimit answers with 429 and a Retry-After of this long, rounded up to
// seconds.
func RateLimit(after time.Duration) Hook {
	fail := Fail(http.StatusTooManyRequests)
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
		return fail(w, r)
	}
}

// Cut ends the connection without an answer, before the registry has seen the
// request.
func Cut() Hook {
	return func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
}

// CutBody lets n bytes of the answer's body through and then ends the
// connection. A shorter body arrives whole.
func CutBody(n int64) Hook {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.(*response).cut = n
		return false
	}
}

// Corrupt inverts the byte at this offset of the answer's body: the length is
// right, the digest is not.
func Corrupt(offset int64) Hook {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.(*response).flip = offset
		return false
	}
}

// Endless answers with zeros and no length, until the client leaves.
func Endless() Hook {
	zeros := make([]byte, 32<<10)
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(http.StatusOK)
		for r.Method != http.MethodHead && r.Context().Err() == nil {
			if _, err := w.Write(zeros); err != nil {
				break
			}
		}
		return true
	}
}

// Delay passes the request on after this long, or cuts it when the client has
// left by then.
func Delay(d time.Duration) Hook {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return false
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// When applies the hook to the requests that match and passes the others on.
func When(match func(*http.Request) bool, hook Hook) Hook {
	return func(w http.ResponseWriter, r *http.Request) bool { return match(r) && hook(w, r) }
}

// Times applies the hook to the first n requests that it gets and passes the
// others on. Inside When it counts those that match.
func Times(n int64, hook Hook) Hook {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return seen.Add(1) <= n && hook(w, r) }
}

// After passes the first n requests that it gets on and applies the hook to
// the others: with [Cut] it is a process killed at its n+1st request.
func After(n int64, hook Hook) Hook {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return seen.Add(1) > n && hook(w, r) }
}

// Any lets each hook have the request in turn, until one has answered.
func Any(hooks ...Hook) Hook {
	return func(w http.ResponseWriter, r *http.Request) bool {
		for _, hook := range hooks {
			if hook(w, r) {
				return true
			}
		}
		return false
	}
}

// IsWrite matches every method other than GET and HEAD.
func IsWrite(r *http.Request) bool { return isWrite(r.Method) }

// IsBlob matches what reads or looks for a blob; uploads are not among it.
func IsBlob(r *http.Request) bool { return isBlobPath(r.URL.Path) }

// IsManifest matches what reads, looks for or writes a manifest by tag or by
// digest.
func IsManifest(r *http.Request) bool { return isManifestPath(r.URL.Path) }

// IsTagWrite matches the PUT that moves a tag.
func IsTagWrite(r *http.Request) bool {
	return r.Method == http.MethodPut && isManifestPath(r.URL.Path) && !strings.Contains(path.Base(r.URL.Path), ":")
}
