package layers

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// lazyArchive returns an archive with one file of each type, and one file split into two chunks.
func lazyArchive(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		tar.Header
		content string
	}{
		{tar.Header{Typeflag: tar.TypeDir, Name: "app/", Mode: 0o755}, ""},
		{tar.Header{Typeflag: tar.TypeReg, Name: "app/a", Mode: 0o644, Uid: 7, PAXRecords: map[string]string{"SCHILY.xattr.user.note": "x"}}, "content"},
		{tar.Header{Typeflag: tar.TypeReg, Name: "app/two", Mode: 0o644}, "firstsecond"},
		{tar.Header{Typeflag: tar.TypeReg, Name: "app/none", Mode: 0o600}, ""},
		{tar.Header{Typeflag: tar.TypeLink, Name: "app/hard", Linkname: "app/a", Mode: 0o644}, ""},
		{tar.Header{Typeflag: tar.TypeSymlink, Name: "app/soft", Linkname: "a", Mode: 0o777}, ""},
		{tar.Header{Typeflag: tar.TypeChar, Name: "app/null", Devmajor: 1, Devminor: 3, Mode: 0o666}, ""},
	} {
		f.Size = int64(len(f.content))
		err := w.WriteHeader(&f.Header)
		if err == nil {
			_, err = w.Write([]byte(f.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

type entries = []map[string]any

// lazyTable returns the table of contents of lazyArchive.
func lazyTable() entries {
	d := func(s string) string { return sha256Of([]byte(s)) }
	return entries{
		{"type": "dir", "name": "app/", "mode": 0o755},
		{"type": "reg", "name": "app/a", "mode": 0o644, "uid": 7, "size": 7, "xattrs": map[string]any{"user.note": "eA=="}, "digest": d("content"), "chunkDigest": d("content")},
		{"type": "reg", "name": "app/two", "mode": 0o644, "size": 11, "digest": d("firstsecond"), "chunkSize": 5, "chunkDigest": d("first")},
		{"type": "chunk", "name": "app/two", "chunkOffset": 5, "chunkSize": 6, "chunkDigest": d("second")},
		{"type": "reg", "name": "app/none", "mode": 0o600, "digest": d("")},
		{"type": "hardlink", "name": "app/hard", "linkName": "app/a", "mode": 0o644},
		{"type": "symlink", "name": "app/soft", "linkName": "a", "mode": 0o777},
		{"type": "char", "name": "app/null", "mode": 0o666, "devMajor": 1, "devMinor": 3},
	}
}

func marshal(t *testing.T, what any) []byte {
	t.Helper()
	raw, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// stargzBlob returns an eStargz blob and its decompressed content.
func stargzBlob(t *testing.T, archive, table []byte) (blob, decompressed []byte) {
	t.Helper()
	var member bytes.Buffer
	w := tar.NewWriter(&member)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: stargzTable, Size: int64(len(table))})
	if err == nil {
		_, err = w.Write(table)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	packed := gz(t, archive)
	extra := fmt.Sprintf("%016x%s", len(packed), stargzMagic)
	footer := append([]byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, byte(4 + len(extra)), 0, 'S', 'G', byte(len(extra)), 0}, extra...)
	footer = append(footer, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0)
	blob = append(append(packed, gz(t, member.Bytes())...), footer...)
	return blob, append(bytes.Clone(archive), member.Bytes()...)
}

// skippable returns a zstd frame that decompressors skip.
func skippable(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{0x50, 0x2a, 0x4d, 0x18}, uint32(len(b))), b...)
}

// chunkedBlob returns a zstd:chunked blob and its annotations. length is the length of the footer
// in bytes.
func chunkedBlob(t *testing.T, archive, table []byte, length int) ([]byte, map[string]string) {
	t.Helper()
	packed, toc := zst(t, archive), zst(t, table)
	offset := len(packed) + 8
	footer := make([]byte, length)
	for i, n := range []int{offset, len(toc), len(table), 1} {
		binary.LittleEndian.PutUint64(footer[8*i:], uint64(n))
	}
	copy(footer[length-8:], chunkedMagics[0])
	return append(append(packed, skippable(toc)...), skippable(footer)...), map[string]string{
		chunkedPrefixes[0] + "manifest-checksum": sha256Of(toc),
		chunkedPrefixes[0] + "manifest-position": fmt.Sprintf("%d:%d:%d:1", offset, len(toc), len(table)),
	}
}

// checked fetches a layer with annotations and checks its table of contents.
func checked(t *testing.T, blob, decompressed []byte, annotations map[string]string) error {
	t.Helper()
	s, src := newStore(t), honest(blob, decompressed)
	l, err := s.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: src.digest, Size: src.size, Annotations: annotations}, src.diffID, src.open)
	if err == nil {
		err = s.fetch(t.Context(), l, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l.CheckTOC()
}

// allForms fetches a layer with this table of contents once in every format, and checks the table
// of contents. It returns the errors.
func allForms(t *testing.T, archive, table []byte) map[string]error {
	t.Helper()
	out := map[string]error{}
	blob, decompressed := stargzBlob(t, archive, table)
	out["eStargz"] = checked(t, blob, decompressed, map[string]string{stargzDigest: sha256Of(table)})
	out["eStargz without annotation"] = checked(t, blob, decompressed, nil)
	for _, length := range []int{40, 64} {
		blob, annotations := chunkedBlob(t, archive, table, length)
		out[fmt.Sprint("zstd:chunked ", length)] = checked(t, blob, archive, annotations)
		out[fmt.Sprint("zstd:chunked without annotations ", length)] = checked(t, blob, archive, nil)
		out[fmt.Sprint("zstd:chunked with an annotation of eStargz ", length)] = checked(t, blob, archive, map[string]string{stargzDigest: sha256Of(table)})
		former := map[string]string{}
		for key, value := range annotations {
			former[strings.Replace(key, chunkedPrefixes[0], chunkedPrefixes[1], 1)] = value
		}
		out[fmt.Sprint("zstd:chunked formerly ", length)] = checked(t, blob, archive, former)
	}
	return out
}

func TestTableOfContentsThatIsTheArchiveIsAccepted(t *testing.T) {
	archive := lazyArchive(t)
	short := lazyTable() // zstd:chunked writes no chunkDigest for a file that has only one chunk
	delete(short[1], "chunkDigest")
	for name, table := range map[string]entries{"all digests": lazyTable(), "no digest of the only chunk": short} {
		for form, err := range allForms(t, archive, marshal(t, map[string]any{"version": 1, "entries": table})) {
			if err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
			}
		}
	}
	for name, blob := range map[string][]byte{"gzip": gz(t, archive), "zstd": zst(t, archive)} {
		if err := checked(t, blob, archive, nil); err != nil {
			t.Errorf("%s without a table: %v", name, err)
		}
	}
}

// TestTableOfContentsThatIsNotTheArchiveIsRefused checks that a table of contents that differs from
// the archive is refused. Nodes with lazy pulling would run the files in the table of contents.
func TestTableOfContentsThatIsNotTheArchiveIsRefused(t *testing.T) {
	archive := lazyArchive(t)
	set := func(i int, key string, value any) func(entries) entries {
		return func(e entries) entries { e[i] = maps.Clone(e[i]); e[i][key] = value; return e }
	}
	for name, c := range map[string]struct {
		change func(entries) entries
		about  string
	}{
		"another name":             {set(1, "name", "app/package.json"), "app/a"},
		"another type":             {set(1, "type", "fifo"), "app/a"},
		"another size":             {set(1, "size", 6), "app/a"},
		"another mode":             {set(1, "mode", 0o4644), "app/a"},
		"another user":             {set(1, "uid", 0), "app/a"},
		"another group":            {set(1, "gid", 1), "app/a"},
		"another attribute":        {set(1, "xattrs", map[string]any{"trusted.overlay.redirect": "eA=="}), "app/a"},
		"another digest":           {set(1, "digest", sha256Of([]byte("x"))), "app/a"},
		"another chunk":            {set(1, "chunkDigest", sha256Of([]byte("x"))), "app/a"},
		"another second chunk":     {set(3, "chunkDigest", sha256Of([]byte("x"))), "app/two"},
		"a second chunk elsewhere": {set(3, "chunkOffset", 4), "app/two"},
		"a second chunk cut":       {set(3, "chunkSize", 5), "app/two"},
		"zeros":                    {set(3, "chunkType", "zeros"), "app/two"},
		"a negative chunk":         {set(2, "chunkSize", -1), "app/two"},
		"another content of none":  {set(4, "digest", sha256Of([]byte("x"))), "app/none"},
		"another hard link":        {set(5, "linkName", "app/two"), "app/hard"},
		"another link":             {set(6, "linkName", "b"), "app/soft"},
		"another device":           {set(7, "devMinor", 4), "app/null"},
		"no digest": {func(e entries) entries {
			delete(e[1], "digest")
			delete(e[1], "chunkDigest")
			return e
		}, "app/a"},
		"one more": {func(e entries) entries {
			return append(e, map[string]any{"type": "symlink", "name": "app/new", "linkName": "a"})
		}, "app/new"},
		"one more before": {func(e entries) entries { return append(entries{{"type": "dir", "name": "new/"}}, e...) }, "app"},
		"one less":        {func(e entries) entries { return e[:len(e)-1] }, "app/null"},
		"none":            {func(entries) entries { return nil }, "app"},
		"another order":   {func(e entries) entries { e[5], e[6] = e[6], e[5]; return e }, "app/hard"},
	} {
		for form, err := range allForms(t, archive, marshal(t, map[string]any{"version": 1, "entries": c.change(lazyTable())})) {
			if !isRefused(err) || !strings.Contains(err.Error(), c.about) {
				t.Errorf("%s, %s: %v", name, form, err)
			}
		}
	}
	good := string(marshal(t, map[string]any{"version": 1, "entries": lazyTable()}))
	for name, raw := range map[string]string{
		"another version":   strings.Replace(good, `"version":1`, `"version":2`, 1),
		"a repeated key":    strings.Replace(good, `"name":"app/a"`, `"name":"app/a","name":"app/a"`, 1),
		"a key in capitals": strings.Replace(good, `"name":"app/a"`, `"name":"app/a","Name":"app/package.json"`, 1),
		"more behind it":    good + `{"version":1}`,
		"no JSON":           "table",
	} {
		for form, err := range allForms(t, archive, []byte(raw)) {
			if !isRefused(err) {
				t.Errorf("%s, %s: %v", name, form, err)
			}
		}
	}
}

// TestSameEntriesThatAreReadDifferentlyAreRefused checks that a table of contents is refused if a
// node resolves its entries to other files than in the archive, even though both have the same
// entries.
func TestSameEntriesThatAreReadDifferentlyAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ headers []tar.Header }{
		"hard link to a folder":    {[]tar.Header{{Typeflag: tar.TypeDir, Name: "x/"}, {Typeflag: tar.TypeLink, Name: "y", Linkname: "x"}}},
		"hard link to a later one": {[]tar.Header{{Typeflag: tar.TypeLink, Name: "y", Linkname: "x"}, {Typeflag: tar.TypeSymlink, Name: "x", Linkname: "z"}}},
		"one name twice":           {[]tar.Header{{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "z"}, {Typeflag: tar.TypeSymlink, Name: "./x", Linkname: "z"}}},
	} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		table := entries{}
		for _, h := range c.headers {
			table = append(table, map[string]any{"type": tocTypes[h.Typeflag], "name": h.Name, "linkName": h.Linkname})
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		for form, err := range allForms(t, buf.Bytes(), marshal(t, map[string]any{"version": 1, "entries": table})) {
			if !isRefused(err) {
				t.Errorf("%s, %s: %v", name, form, err)
			}
		}
	}
}

// TestTableOfContentsThatIsNotFoundIsRefused checks that a layer is refused if the gate cannot find
// the table of contents that the annotations describe. A node that finds it would run the files
// that it lists.
func TestTableOfContentsThatIsNotFoundIsRefused(t *testing.T) {
	archive := lazyArchive(t)
	table := marshal(t, map[string]any{"version": 1, "entries": lazyTable()})
	blob, decompressed := stargzBlob(t, archive, table)
	if err := checked(t, blob, decompressed, map[string]string{stargzDigest: sha256Of(nil)}); !isRefused(err) {
		t.Errorf("another digest: %v", err)
	}
	if err := checked(t, gz(t, archive), archive, map[string]string{stargzDigest: sha256Of(table)}); !isRefused(err) {
		t.Errorf("no table: %v", err)
	}
	chunked, annotations := chunkedBlob(t, archive, table, 64)
	for name, change := range map[string][2]string{
		"no position":        {"manifest-position", ""},
		"no checksum":        {"manifest-checksum", ""},
		"another checksum":   {"manifest-checksum", sha256Of(nil)},
		"behind the end":     {"manifest-position", fmt.Sprintf("%d:10:10:1", len(chunked))},
		"too long":           {"manifest-position", fmt.Sprintf("0:%d:10:1", len(chunked)+1)},
		"negative":           {"manifest-position", "-1:10:10:1"},
		"three numbers":      {"manifest-position", "1:10:10"},
		"of an unknown kind": {"manifest-position", strings.TrimSuffix(annotations[chunkedPrefixes[0]+"manifest-position"], "1") + "2"},
	} {
		other := maps.Clone(annotations)
		if other[chunkedPrefixes[0]+change[0]] = change[1]; change[1] == "" {
			delete(other, chunkedPrefixes[0]+change[0])
		}
		if err := checked(t, chunked, archive, other); !isRefused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
