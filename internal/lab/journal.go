package lab

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
)

// Request is one request that reached a registry.
type Request struct {
	Method string
	Path   string // of the URL, without the query
	Query  string // of the URL, raw
	// Header is what the client sent, credentials included.
	Header http.Header
	// Status is the answer's; 0 where the connection was cut before one.
	Status int
	// BytesIn and BytesOut count the bytes of the two bodies that passed.
	BytesIn, BytesOut int64
}

// IsWrite tells whether the request could have changed the registry: its
// method is neither GET nor HEAD.
func (r Request) IsWrite() bool { return isWrite(r.Method) }

// String is "METHOD path status", for messages.
func (r Request) String() string { return fmt.Sprintf("%s %s %d", r.Method, r.Path, r.Status) }

// Requests returns all requests since the start or the last reset, in the
// order in which they arrived. One that is under way is part of it, with the
// status and the bytes that were sent so far: what a client has received is on
// the record already.
func (r *Registry) Requests() []Request { return r.journal.snapshot() }

// Writes returns those requests whose method is neither GET nor HEAD, whatever
// became of them.
func (r *Registry) Writes() []Request {
	var writes []Request
	for _, req := range r.Requests() {
		if req.IsWrite() {
			writes = append(writes, req)
		}
	}
	return writes
}

// ResetRequests empties the record. Requests that are under way do not come
// back to it.
func (r *Registry) ResetRequests() { r.journal.reset() }

// BlobBytesServed counts the bytes of blobs, configurations included, that
// were sent to clients since the last reset.
func (r *Registry) BlobBytesServed() int64 {
	var sum int64
	for _, req := range r.Requests() {
		if req.Method == http.MethodGet && isBlobPath(req.Path) && req.Status/100 == 2 {
			sum += req.BytesOut
		}
	}
	return sum
}

// BlobReads counts for each digest the GET requests for that blob since the
// last reset, failed ones included.
func (r *Registry) BlobReads() map[string]int {
	reads := map[string]int{}
	for _, req := range r.Requests() {
		if req.Method == http.MethodGet && isBlobPath(req.Path) {
			reads[path.Base(req.Path)]++
		}
	}
	return reads
}

// journal is the record of requests.
type journal struct {
	mu       sync.Mutex
	requests []*Request
}

// begin enters a request and returns the writer through which it is answered.
// It also counts what is read of the request's body.
func (j *journal) begin(w http.ResponseWriter, req *http.Request) *response {
	entry := &Request{Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery, Header: req.Header.Clone()}
	j.mu.Lock()
	j.requests = append(j.requests, entry)
	j.mu.Unlock()
	req.Body = &requestBody{ReadCloser: req.Body, journal: j, entry: entry}
	return &response{ResponseWriter: w, journal: j, entry: entry, cut: -1, flip: -1}
}

func (j *journal) snapshot() []Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Request, len(j.requests))
	for i, entry := range j.requests {
		out[i] = *entry
	}
	return out
}

func (j *journal) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.requests = nil
}

// requestBody counts what is read from it.
type requestBody struct {
	io.ReadCloser
	journal *journal
	entry   *Request
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.journal.mu.Lock()
	b.entry.BytesIn += int64(n)
	b.journal.mu.Unlock()
	return n, err
}

// response writes to the record before it writes to the client, so that a
// client never knows more than the record. It carries out the faults that
// happen inside a body.
type response struct {
	http.ResponseWriter
	journal *journal
	entry   *Request
	status  int
	written int64
	cut     int64 // cut the connection after so many bytes; -1 is never
	flip    int64 // send the byte at this offset inverted; -1 is none
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
		w.journal.mu.Lock()
		w.entry.Status = status
		w.journal.mu.Unlock()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	cut := w.cut >= 0 && w.written+int64(len(p)) > w.cut
	if cut {
		p = p[:w.cut-w.written]
	}
	if at := w.flip - w.written; w.flip >= 0 && at >= 0 && at < int64(len(p)) {
		p = append([]byte(nil), p...)
		p[at] = ^p[at]
	}
	w.written += int64(len(p))
	w.journal.mu.Lock()
	w.entry.BytesOut += int64(len(p))
	w.journal.mu.Unlock()
	n, err := w.ResponseWriter.Write(p)
	if cut {
		// Without the flush the client would see no answer at all.
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish records the status that net/http sends for a handler that wrote none.
func (w *response) finish() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
}

func isWrite(method string) bool { return method != http.MethodGet && method != http.MethodHead }

// isBlobPath recognises "/v2/<repository>/blobs/<digest>" and no upload.
func isBlobPath(p string) bool {
	dir, last := path.Split(p)
	return strings.HasSuffix(dir, "/blobs/") && strings.Contains(last, ":")
}

// isManifestPath recognises "/v2/<repository>/manifests/<tag or digest>".
func isManifestPath(p string) bool {
	dir, _ := path.Split(p)
	return strings.HasSuffix(dir, "/manifests/")
}
