package registry

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

// IsTransient reports whether a retry may succeed, because the error was caused by a busy or silent
// server or by a broken connection. For any other error it returns false, for example for a missing
// tag or a refused login.
func IsTransient(err error) bool {
	if status, ok := StatusOf(err); ok {
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

// isConnection reports whether a connection could not be made, or broke.
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
	return strings.Contains(err.Error(), "http2: ") // net/http does not export its HTTP/2 error types
}

// IsCutOff reports whether a response ended early. Use it only for errors of registry requests: for
// a local file, EOF means that the file is damaged.
func IsCutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// StatusOf returns the HTTP status in an error, and whether the error has one. Each client library
// has its own error type, but all have either a method HTTPStatusCode or a field StatusCode.
func StatusOf(err error) (int, bool) {
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

// chain returns an error and all errors that it wraps.
func chain(err error) []error {
	if err == nil {
		return nil
	}
	out := []error{err}
	switch e := err.(type) { //nolint:errorlint // chain itself walks the causes
	case interface{ Unwrap() error }:
		out = append(out, chain(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			out = append(out, chain(cause)...)
		}
	}
	return out
}
