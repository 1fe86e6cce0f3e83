package vulndb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"
)

// sums has the checksums of a file. XXH64 is fast, and is checked on every run to detect damage.
// SHA-256 is computed only at installation, and becomes the name of the database's folder.
type sums struct {
	size   int64
	xxh64  string // in hexadecimal
	sha256 string // in hexadecimal; empty if fastHash computed the sums
}

// fastHash computes the size and XXH64 of a file.
func fastHash(ctx context.Context, file string) (sums, error) {
	x := xxhash.New()
	n, err := hashInto(ctx, x, file)
	return sums{size: n, xxh64: fmt.Sprintf("%016x", x.Sum64())}, err
}

// fullHash computes all checksums of a file.
func fullHash(ctx context.Context, file string) (sums, error) {
	x, s := xxhash.New(), sha256.New()
	n, err := hashInto(ctx, io.MultiWriter(x, s), file)
	return sums{size: n, xxh64: fmt.Sprintf("%016x", x.Sum64()), sha256: hex.EncodeToString(s.Sum(nil))}, err
}

func hashInto(ctx context.Context, w io.Writer, file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := io.CopyBuffer(w, contextReader{ctx, f}, make([]byte, 1<<20))
	if err != nil {
		return n, fmt.Errorf("reading %s: %w", file, err)
	}
	return n, nil
}

// contextReader is a reader that returns the error of the context after the context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
