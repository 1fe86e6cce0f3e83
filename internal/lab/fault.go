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

// Hook sees a request before the registry does. It returns true if it has answered, and false to
// pass the request on, perhaps after a delay or with a damaged answer. Hooks are called
// concurrently, and must return when the request's context ends.
type Hook func(w http.ResponseWriter, r *http.Request) bool

// Fail answers with this status and an error body in the form of the distribution specification.
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

// RateLimit answers with 429 and a Retry-After of this duration, rounded up to seconds.
func RateLimit(after time.Duration) Hook {
	fail := Fail(http.StatusTooManyRequests)
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
		return fail(w, r)
	}
}

// Cut closes the connection without an answer, before the registry has seen the request.
func Cut() Hook {
	return func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
}

// CutBody sends n bytes of the answer's body and then closes the connection. A shorter body is sent
// in full.
func CutBody(n int64) Hook {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.(*response).cut = n
		return false
	}
}

// Corrupt inverts the byte at this offset of the answer's body: the length is right, the digest is
// wrong.
func Corrupt(offset int64) Hook {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.(*response).flip = offset
		return false
	}
}

// Endless answers with zeros and without a length until the client disconnects.
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

// Delay passes the request on after this duration. If the client has disconnected by then, it
// closes the connection.
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

// Times applies the hook to the first n requests and passes later requests on. Inside When it
// counts only matching requests.
func Times(n int64, hook Hook) Hook {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return seen.Add(1) <= n && hook(w, r) }
}

// After passes the first n requests on and applies the hook to all later ones. With [Cut] it
// simulates a process that is killed at request n+1.
func After(n int64, hook Hook) Hook {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return seen.Add(1) > n && hook(w, r) }
}

// Any calls the hooks in order until one of them answers.
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

// IsWrite matches every method except GET and HEAD.
func IsWrite(r *http.Request) bool { return isWrite(r.Method) }

// IsBlob matches requests that read a blob or check whether it exists, but not uploads.
func IsBlob(r *http.Request) bool { return isBlobPath(r.URL.Path) }

// IsManifest matches requests that read, check or write a manifest by tag or by digest.
func IsManifest(r *http.Request) bool { return isManifestPath(r.URL.Path) }

// IsTagWrite matches the PUT that moves a tag.
func IsTagWrite(r *http.Request) bool {
	return r.Method == http.MethodPut && isManifestPath(r.URL.Path) && !strings.Contains(path.Base(r.URL.Path), ":")
}
