package catalog

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/policy/evidence"
)

// elfWith returns an ELF program with these sections, followed by data. The last section is the
// section name string table.
func elfWith(t *testing.T, sections []elf.Section64, data []byte) []byte {
	t.Helper()
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Phentsize: 56, Shentsize: 64}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	if len(sections) > 0 {
		h.Shoff, h.Shnum, h.Shstrndx = 64, uint16(len(sections)), uint16(len(sections)-1)
	}
	var out bytes.Buffer
	if err := errors.Join(binary.Write(&out, binary.LittleEndian, h), binary.Write(&out, binary.LittleEndian, sections)); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), data...)
}

// bundle returns a .NET program in a single file, with the bundle marker at the given offset.
func bundle(t *testing.T, at int) []byte {
	t.Helper()
	deps := []byte(`{"runtimeTarget": {"name": ".NETCoreApp,Version=v8.0"}, "targets": {".NETCoreApp,Version=v8.0": {` +
		`"app/1.0.0": {"dependencies": {"Newtonsoft.Json": "12.0.1"}}, "Newtonsoft.Json/12.0.1": {"runtime": {"lib/Newtonsoft.Json.dll": {}}}}},` +
		`"libraries": {"app/1.0.0": {"type": "project"}, "Newtonsoft.Json/12.0.1": {"type": "package", "sha512": "", "path": "newtonsoft.json/12.0.1"}}}`)
	b := elfWith(t, nil, nil)
	b = append(b, make([]byte, at-8-len(b))...)
	header := at + len(bundleMarker)
	b = binary.LittleEndian.AppendUint64(b, uint64(header))
	b = append(b, bundleMarker[:]...)
	b = binary.LittleEndian.AppendUint32(b, 6)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = append(b, 0) // the terminating zero of an empty section name
	b = binary.LittleEndian.AppendUint64(b, uint64(header+53))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(deps)))
	b = append(b, make([]byte, 24)...)
	return append(b, deps...)
}

// refused returns a program that syft does not parse, because a section header declares a
// decompressed size of 1 TiB.
func refused(t *testing.T) []byte {
	t.Helper()
	const after = 64 + 3*64
	var data bytes.Buffer
	if err := binary.Write(&data, binary.LittleEndian, elf.Chdr64{Type: uint32(elf.COMPRESS_ZLIB), Size: 1 << 40, Addralign: 1}); err != nil {
		t.Fatal(err)
	}
	names := data.Len()
	data.WriteString("\x00.symtab\x00.shstrtab\x00")
	return elfWith(t, []elf.Section64{{},
		{Name: 1, Type: uint32(elf.SHT_SYMTAB), Flags: uint64(elf.SHF_COMPRESSED), Off: after, Size: uint64(names), Entsize: 24},
		{Name: 9, Type: uint32(elf.SHT_STRTAB), Off: after + uint64(names), Size: uint64(data.Len() - names)},
	}, data.Bytes())
}

// TestProgramsAreReadLikeSyft checks that the gate and syft find the same packages in .NET bundles,
// and report the same programs as unreadable.
func TestProgramsAreReadLikeSyft(t *testing.T) {
	img := labImage(t, lab.ImageSpec{OSRelease: "debian 12", DebPackages: []lab.Deb{{Name: "openssl", Version: "3.0.13-1~deb12u1"}}, Files: []lab.File{
		{Path: "opt/bundle", Content: string(bundle(t, 3000)), Mode: 0o755},
		{Path: "opt/plain", Content: string(elfWith(t, nil, make([]byte, 10_000))), Mode: 0o755},
		{Path: "opt/refused", Content: string(refused(t)), Mode: 0o755},
		{Path: "opt/short", Content: "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00", Mode: 0o755},
		{Path: "opt/link", Link: "bundle"},
	}})
	own := syftsOwn(t, img, catalogConfig(testCataloger.Tool))
	s := generate(t, img)

	var want, got []string
	for one := range own.Artifacts.Packages.Enumerate() {
		want = append(want, fmt.Sprint(one.Name, " ", one.Version, " ", one.Type, " ", one.FoundBy))
	}
	for one := range s.Syft().Artifacts.Packages.Enumerate() {
		got = append(got, fmt.Sprint(one.Name, " ", one.Version, " ", one.Type, " ", one.FoundBy))
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" || !slices.ContainsFunc(got, func(one string) bool { return strings.HasPrefix(one, "Newtonsoft.Json 12.0.1") }) {
		t.Errorf("packages %q (-syft +ours):\n%s", got, d)
	}
	unread := unknowns(own)
	for i := range unread {
		unread[i].Class = evidence.UnknownFile
	}
	if d := cmp.Diff(unread, s.Unknowns); d != "" || len(s.Unknowns) == 0 {
		t.Errorf("%d unknowns (-syft +ours):\n%s", len(s.Unknowns), d)
	}
}

func TestMarkerIsFoundWhereverItIs(t *testing.T) {
	buf := make([]byte, 64)
	for at := range 200 {
		b := make([]byte, 300)
		copy(b[at:], bundleMarker[:])
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b[:at+32]))} {
			if !mayHold(r, buf) {
				t.Errorf("not found at %d", at)
			}
		}
		copy(b[at:], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
		if mayHold(bytes.NewReader(b), buf) {
			t.Errorf("found after it is gone from %d", at)
		}
	}
	// After a read error, mayHold must return true, because the unread part could contain the
	// marker.
	if !mayHold(iotest.ErrReader(errors.New("unreadable")), buf) || !mayHold(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(errors.New("unreadable"))), buf) {
		t.Error("a read error was treated as the end of the file")
	}
}
