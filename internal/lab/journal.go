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
	Path   string // path of the URL, without the query
	Query  string // raw query of the URL
	// Header has the headers that the client sent, including credentials.
	Header http.Header
	// Status is the status of the response, or 0 if the connection was cut before a response.
	Status int
	// BytesIn and BytesOut count the transferred bytes of the request body and the response body.
	BytesIn, BytesOut int64
}

// IsWrite reports whether the request may have changed the registry, because its method is neither
// GET nor HEAD.
func (r Request) IsWrite() bool { return isWrite(r.Method) }

// String returns "METHOD path status", for messages.
func (r Request) String() string { return fmt.Sprintf("%s %s %d", r.Method, r.Path, r.Status) }

// Requests returns all requests since the start of the registry or the last reset, in the order of
// their arrival. A request in progress is included, with its current status and byte counts. Bytes
// are counted before the client receives them.
func (r *Registry) Requests() []Request { return r.journal.snapshot() }

// Writes returns the requests with a method other than GET and HEAD, including failed ones.
func (r *Registry) Writes() []Request {
	var writes []Request
	for _, req := range r.Requests() {
		if req.IsWrite() {
			writes = append(writes, req)
		}
	}
	return writes
}

// ResetRequests empties the journal. Requests in progress are not added again.
func (r *Registry) ResetRequests() { r.journal.reset() }

// BlobBytesServed returns the number of blob bytes, including image configs, that were sent to
// clients since the last reset.
func (r *Registry) BlobBytesServed() int64 {
	var sum int64
	for _, req := range r.Requests() {
		if req.Method == http.MethodGet && isBlobPath(req.Path) && req.Status/100 == 2 {
			sum += req.BytesOut
		}
	}
	return sum
}

// BlobReads counts the GET requests for each blob digest since the last reset, including failed
// requests.
func (r *Registry) BlobReads() map[string]int {
	reads := map[string]int{}
	for _, req := range r.Requests() {
		if req.Method == http.MethodGet && isBlobPath(req.Path) {
			reads[path.Base(req.Path)]++
		}
	}
	return reads
}

// journal is the list of recorded requests.
type journal struct {
	mu       sync.Mutex
	requests []*Request
}

// begin records a request and returns the writer for its response. It also counts the bytes that
// are read from the request body.
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

// requestBody is a request body that counts the bytes read from it.
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

// response is a response writer that updates the journal before it writes to the client, so that
// the journal has everything that a client has received. It can also cut or corrupt the body.
type response struct {
	http.ResponseWriter
	journal *journal
	entry   *Request
	status  int
	written int64
	cut     int64 // cut the connection after this many bytes; -1 means never
	flip    int64 // invert the byte at this offset; -1 means none
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
		// Without the flush, the client would not receive any part of the response.
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish records the status 200 if the handler did not set a status, because net/http then sends
// 200.
func (w *response) finish() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
}

func isWrite(method string) bool { return method != http.MethodGet && method != http.MethodHead }

// isBlobPath matches "/v2/<repository>/blobs/<digest>", but not uploads.
func isBlobPath(p string) bool {
	dir, last := path.Split(p)
	return strings.HasSuffix(dir, "/blobs/") && strings.Contains(last, ":")
}

// isManifestPath matches "/v2/<repository>/manifests/<tag or digest>".
func isManifestPath(p string) bool {
	dir, _ := path.Split(p)
	return strings.HasSuffix(dir, "/manifests/")
}
