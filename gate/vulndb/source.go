package vulndb

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/anchore/grype/grype/db/provider"
)

const (
	stateName    = "metadata.json"
	capturedName = "captured"
	// maxRecordFile is the maximum size of one record, in bytes. The largest records of public
	// feeds have a few megabytes.
	maxRecordFile = 64 << 20
)

// providerName matches valid provider names. The characters are limited because the name becomes
// part of the namespaces in findings.
var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// source is the input folder of one provider: its metadata and its record files.
type source struct {
	state provider.State
	root  string
	// byHand is true if people maintain the records, false if vunnel wrote them.
	byHand bool
	files  []string
}

// rawRecord is one record in its stored form.
type rawRecord struct {
	name string // path of the file; in a SQLite store, also the ID of the record
	data []byte
}

// readSources returns the sources of all providers: one for each folder in the folder from. The
// result is sorted by source.order, which is the order for writing the records.
func readSources(ctx context.Context, from string, now time.Time) ([]source, error) {
	entries, err := os.ReadDir(from)
	if info, serr := os.Stat(from); serr == nil && !info.IsDir() {
		return nil, errors.New("it is a file: name the folder that has a folder for each provider")
	}
	if err != nil {
		return nil, err
	}
	var out []source
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		file := filepath.Join(from, e.Name())
		switch {
		case e.IsDir():
		case filepath.Ext(e.Name()) == ".json":
			return nil, fmt.Errorf("%s: records must be in a folder with the name of their provider", file)
		case !e.Type().IsRegular():
			return nil, fmt.Errorf("%s: neither a folder nor a regular file", file)
		default:
			continue
		}
		s, err := readSource(ctx, file, now)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o source) bool { return o.state.Provider == s.state.Provider }) {
			return nil, fmt.Errorf("%s: provider %q already has another folder", file, s.state.Provider)
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errors.New("the folder does not contain a provider's folder")
	}
	slices.SortStableFunc(out, func(a, b source) int { return cmp.Compare(a.order(), b.order()) })
	return out, nil
}

// order returns the position of a provider when records are written; lower numbers come first. NVD
// comes first, because its severities replace missing severities of other providers. End-of-life
// data comes last, because it is added to existing releases.
func (s source) order() int {
	switch s.state.Provider {
	case "nvd":
		return 0
	case "eol":
		return 2
	}
	return 1
}

func readSource(ctx context.Context, root string, now time.Time) (source, error) {
	_, err := os.Stat(filepath.Join(root, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return sourceByHand(ctx, root, now)
	}
	if err != nil {
		return source{}, err
	}
	return workspace(root)
}

// workspace reads the folder of a provider that vunnel wrote. The checksum listing must name every
// result file with its correct checksum, because grype's builder reads only the files in the
// listing.
func workspace(root string) (source, error) {
	state, err := provider.ReadState(filepath.Join(root, stateName))
	if err != nil {
		return source{}, fmt.Errorf("%s: %w", filepath.Join(root, stateName), err)
	}
	s := source{state: *state, root: root}
	switch {
	case state.Provider == "":
		return source{}, fmt.Errorf("%s: the provider is missing", filepath.Join(root, stateName))
	case state.Timestamp.IsZero():
		return source{}, fmt.Errorf("%s: the time of capture is missing", filepath.Join(root, stateName))
	case state.Listing == nil:
		return source{}, fmt.Errorf("%s: the checksum listing of the results is missing", filepath.Join(root, stateName))
	}
	for _, file := range state.ResultPaths() {
		rel, err := filepath.Rel(root, file)
		if err != nil || !filepath.IsLocal(rel) {
			return source{}, fmt.Errorf("%s: the checksum listing names %q, which is outside the folder", root, file)
		}
		s.files = append(s.files, file)
	}
	if err := state.Verify(); err != nil {
		return source{}, fmt.Errorf("%s: %w", root, err)
	}
	slices.Sort(s.files)
	present, err := filesBelow(filepath.Join(root, "results"), ".json")
	if err != nil {
		return source{}, err
	}
	for _, file := range present {
		if _, listed := slices.BinarySearch(s.files, file); !listed {
			return source{}, fmt.Errorf("%s: the file is not in the checksum listing of its provider", file)
		}
	}
	return s, nil
}

// sourceByHand reads the folder of a provider whose records are maintained by hand. It generates
// the metadata that vunnel would write to metadata.json.
func sourceByHand(ctx context.Context, root string, now time.Time) (source, error) {
	name := strings.ToLower(filepath.Base(root))
	if !providerName.MatchString(name) {
		return source{}, fmt.Errorf("%s: invalid provider name: only letters, digits, dots, underscores and dashes are allowed", root)
	}
	files, err := filesBelow(root, ".json")
	if err != nil {
		return source{}, err
	}
	if err := refuseStrangers(root); err != nil {
		return source{}, err
	}
	captured, err := readCaptured(root, now)
	if err != nil {
		return source{}, err
	}
	digest := sha256.New()
	for _, file := range files {
		sum, err := fullHash(ctx, file)
		if err != nil {
			return source{}, err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return source{}, err
		}
		fmt.Fprintf(digest, "%s  %s\n", sum.sha256, filepath.ToSlash(rel))
	}
	return source{root: root, byHand: true, files: files, state: provider.State{
		Provider:  name,
		Version:   1,
		Processor: "imagegate",
		Timestamp: captured,
		Store:     "flat-file",
		Listing:   &provider.File{Algorithm: "sha256", Digest: hex.EncodeToString(digest.Sum(nil))},
	}}, nil
}

// readCaptured returns the time when records maintained by hand were copied. Without a file
// "captured", the records are originals, and readCaptured returns now.
func readCaptured(root string, now time.Time) (time.Time, error) {
	file := filepath.Join(root, capturedName)
	data, err := readBounded(file, 1024)
	if errors.Is(err, fs.ErrNotExist) {
		return now, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(data)))
	if err != nil {
		return time.Time{}, fmt.Errorf("invalid time in %s: expected an RFC 3339 time such as 2026-01-31T08:00:00Z: %w", file, err)
	}
	return at.UTC(), nil
}

// each calls do for every record of a provider.
func (s source) each(ctx context.Context, do func(rawRecord) error) error {
	switch s.state.Store {
	case "flat-file":
		for _, file := range s.files {
			if err := ctx.Err(); err != nil {
				return err
			}
			data, err := readBounded(file, maxRecordFile)
			if err != nil {
				return err
			}
			if err := do(rawRecord{file, data}); err != nil {
				return err
			}
		}
		return nil
	case "sqlite":
		return s.eachRow(ctx, do)
	}
	return fmt.Errorf("%s: store %q is not supported", s.root, s.state.Store)
}

// eachRow calls do for every record in vunnel's sqlite store, which has one table with the columns
// id and record.
func (s source) eachRow(ctx context.Context, do func(rawRecord) error) (err error) {
	i := slices.IndexFunc(s.files, func(f string) bool { return filepath.Base(f) == "results.db" })
	if i < 0 {
		return fmt.Errorf("%s: the checksum listing does not name results.db", s.root)
	}
	file, err := checkDir(s.files[i])
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro&immutable=1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, "SELECT id, record FROM results ORDER BY id")
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			id   string
			data []byte
		)
		if err := rows.Scan(&id, &data); err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		if err := do(rawRecord{file + " record " + id, data}); err != nil {
			return err
		}
	}
	return rows.Err()
}

// allowsNothing reports whether a record may produce no rows. Records of the end-of-life feed may,
// because most of them are about programs, not distributions.
func (s source) allowsNothing(env *envelope) bool {
	return !s.byHand && strings.Contains(env.Schema, "/eol/")
}

// envelope is the JSON object that vunnel wraps around a record.
type envelope struct {
	Schema     string          `json:"schema"`
	Identifier string          `json:"identifier"`
	Item       json.RawMessage `json:"item"`
}

// parseEnvelope parses an envelope. For JSON that is not an envelope, it returns nil without an
// error.
func parseEnvelope(data []byte) (*envelope, error) {
	var env envelope
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&env); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("found data after the first JSON value")
	}
	if env.Schema == "" && len(env.Item) == 0 {
		return nil, nil
	}
	if env.Schema == "" || len(env.Item) == 0 {
		return nil, errors.New("the envelope of the record lacks schema or item")
	}
	return &env, nil
}

func isOSV(schema string) bool { return strings.Contains(schema, "/osv/") }

// filesBelow returns the files with the given extension in a folder and its subfolders, sorted. It
// refuses links, so that all content comes from the folder.
func filesBelow(root, ext string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() || filepath.Ext(file) != ext:
			return nil
		case !e.Type().IsRegular():
			return fmt.Errorf("%s: not a regular file", file)
		}
		out = append(out, file)
		return nil
	})
	slices.Sort(out)
	return out, err
}

// refuseStrangers returns an error if the folder of a provider has a file with an unexpected name.
// Without this error, an advisory could be skipped because of its file name, and the user would
// assume that the database contains it.
func refuseStrangers(root string) error {
	return filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		name := e.Name()
		switch {
		case err != nil || e.IsDir():
			return err
		case filepath.Ext(name) == ".json", name == capturedName, strings.HasPrefix(name, "."):
			return nil
		case strings.HasPrefix(name, "README"), strings.HasPrefix(name, "LICENSE"), strings.HasPrefix(name, "NOTICE"):
			return nil
		}
		return fmt.Errorf("%s: unexpected file: the name of a record must end in .json", file)
	})
}

func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: the file is larger than %d bytes", file, limit)
	}
	return data, nil
}
