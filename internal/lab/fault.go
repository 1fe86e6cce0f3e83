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

// Hook receives a request before the registry does. It returns true if it has sent a response. It
// returns false to pass the request on, possibly after a delay or with a damaged response. Hooks
// are called concurrently, and must return when the request's context ends.
type Hook func(w http.ResponseWriter, r *http.Request) bool

// Fail responds with the given status, and with an error body as the distribution specification
// defines.
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

// RateLimit responds with status 429 and a Retry-After header with the given duration, rounded up
// to seconds.
func RateLimit(after time.Duration) Hook {
	fail := Fail(http.StatusTooManyRequests)
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
		return fail(w, r)
	}
}

// Cut closes the connection without a response. The registry does not receive the request.
func Cut() Hook {
	return func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
}

// CutBody sends n bytes of the response body and then closes the connection. A shorter body is sent
// completely.
func CutBody(n int64) Hook {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.(*response).cut = n
		return false
	}
}

// Corrupt inverts the byte at the given offset of the response body, so that the length is correct
// and the digest is wrong.
func Corrupt(offset int64) Hook {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.(*response).flip = offset
		return false
	}
}

// Endless sends zeros, without a Content-Length, until the client disconnects.
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

// Delay passes the request on after the given duration. If the client has disconnected by then,
// Delay closes the connection.
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

// When applies the hook to the requests that match matches, and passes all other requests on.
func When(match func(*http.Request) bool, hook Hook) Hook {
	return func(w http.ResponseWriter, r *http.Request) bool { return match(r) && hook(w, r) }
}

// Times applies the hook to the first n requests, and passes later requests on. If it is inside a
// When, it counts only the requests that match.
func Times(n int64, hook Hook) Hook {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return seen.Add(1) <= n && hook(w, r) }
}

// After passes the first n requests on, and applies the hook to all later requests. With [Cut] it
// simulates a client that is killed at request n+1.
func After(n int64, hook Hook) Hook {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return seen.Add(1) > n && hook(w, r) }
}

// Any calls the hooks in order until one of them sends a response.
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

// IsWrite matches requests with any method except GET and HEAD.
func IsWrite(r *http.Request) bool { return isWrite(r.Method) }

// IsBlob matches requests that read a blob or check whether it exists, but not uploads.
func IsBlob(r *http.Request) bool { return isBlobPath(r.URL.Path) }

// IsManifest matches requests that read, check or write a manifest by tag or by digest.
func IsManifest(r *http.Request) bool { return isManifestPath(r.URL.Path) }

// IsTagWrite matches a PUT request that creates or moves a tag.
func IsTagWrite(r *http.Request) bool {
	return r.Method == http.MethodPut && isManifestPath(r.URL.Path) && !strings.Contains(path.Base(r.URL.Path), ":")
}
