package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
)

// isTransient reports whether the cause of an error may go away by itself: a server
// that is busy or does not answer, a connection that broke. The default is false:
// a tag that does not exist and a login that is refused stay so.
func isTransient(err error) bool {
	if status, ok := statusOf(err); ok {
		switch status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
			http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var (
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		plain   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	case errors.As(err, &cert), errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &plain):
		return false
	}
	return errors.Is(err, context.DeadlineExceeded) || isConnection(err)
}

// isConnection reports whether a connection could not be made or broke.
func isConnection(err error) bool {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return true
	}
	for _, errno := range []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return strings.Contains(err.Error(), "http2: ") // whose errors have no exported types
}

// isCutOff reports whether an answer ended too early. In a local file that would be
// the file's fault.
func isCutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// statusOf returns the HTTP status that a server answered with. Each client has an
// error type of its own: they share the name of the field, or of the method.
func statusOf(err error) (int, bool) {
	var method interface{ HTTPStatusCode() int }
	if errors.As(err, &method) {
		return method.HTTPStatusCode(), true
	}
	for _, e := range chain(err) {
		v := reflect.Indirect(reflect.ValueOf(e))
		if v.Kind() != reflect.Struct {
			continue
		}
		if f := v.FieldByName("StatusCode"); f.IsValid() && f.CanInt() && f.Int() >= 100 {
			return int(f.Int()), true
		}
	}
	return 0, false
}

// chain lists an error and its causes.
func chain(err error) []error {
	if err == nil {
		return nil
	}
	out := []error{err}
	switch e := err.(type) { //nolint:errorlint // it walks the causes by itself
	case interface{ Unwrap() error }:
		out = append(out, chain(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			out = append(out, chain(cause)...)
		}
	}
	return out
}
