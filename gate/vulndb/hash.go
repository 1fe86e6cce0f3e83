package vulndb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"
)

// sums has the checksums of a file. The XXH64 sums are fast, and are checked on every run to detect
// damage. SHA-256 is computed only at installation, and becomes the name of the database's folder.
type sums struct {
	size   int64
	xxh64  string // the XXH64 of the XXH64 of each chunk, in hexadecimal
	sha256 string // in hexadecimal; empty if fastHash computed the sums
}

// chunk is the size of the parts of a file that are hashed in parallel, in bytes.
const chunk = 8 << 20

// fastHash computes the size and the XXH64 of a file.
func fastHash(ctx context.Context, file string) (sums, error) {
	f, err := os.Open(file)
	if err != nil {
		return sums{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sums{}, err
	}
	chunks := make([]uint64, (info.Size()+chunk-1)/chunk)
	group, ctx := errgroup.WithContext(ctx)
	workers := min(runtime.GOMAXPROCS(0), 4)
	for w := range workers {
		group.Go(func() error {
			x, buf := xxhash.New(), make([]byte, 1<<20)
			for i := w; i < len(chunks); i += workers {
				x.Reset()
				part := io.NewSectionReader(f, int64(i)*chunk, chunk)
				if _, err := io.CopyBuffer(struct{ io.Writer }{x}, contextReader{ctx, part}, buf); err != nil {
					return fmt.Errorf("reading %s: %w", file, err)
				}
				chunks[i] = x.Sum64()
			}
			return nil
		})
	}
	err = group.Wait()
	return sums{size: info.Size(), xxh64: chunkSum(chunks)}, err
}

// chunkSum returns the XXH64 of the sums of all chunks.
func chunkSum(chunks []uint64) string {
	x := xxhash.New()
	for _, c := range chunks {
		_, _ = x.Write(binary.LittleEndian.AppendUint64(nil, c)) // returns no error
	}
	return fmt.Sprintf("%016x", x.Sum64())
}

// fullHash computes all checksums of a file.
func fullHash(ctx context.Context, file string) (sums, error) {
	f, err := os.Open(file)
	if err != nil {
		return sums{}, err
	}
	defer f.Close()
	s, x := sha256.New(), xxhash.New()
	var out sums
	var chunks []uint64
	for {
		x.Reset()
		n, err := io.CopyN(io.MultiWriter(s, x), contextReader{ctx, f}, chunk)
		out.size += n
		if n > 0 {
			chunks = append(chunks, x.Sum64())
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return out, fmt.Errorf("reading %s: %w", file, err)
		}
	}
	out.xxh64, out.sha256 = chunkSum(chunks), hex.EncodeToString(s.Sum(nil))
	return out, nil
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
