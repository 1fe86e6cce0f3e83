package corpus

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// make builds the layer that a recipe describes, or returns it from the store.
func (s *store) make(r layerRecipe) layer {
	s.Helper()
	switch {
	case r.Base:
		return s.layer(s.key("base", s.suite, excluded), s.baseLayer)
	case len(r.Debian) > 0:
		return s.layer(s.key("debian", s.suite, r.Debian, install, excluded), s.debianLayer(r.Debian))
	case len(r.Distroless) > 0:
		return s.layer(s.key("distroless", s.suite, r.Distroless, excluded), s.distrolessLayer(r.Distroless))
	case len(r.Files) > 0:
		return s.layer(s.key("files", r.Files), func(w *layerWriter) error { return w.files(r.Files) })
	case len(r.Archives) > 0:
		return s.layer(s.key("archives", r.Archives), func(w *layerWriter) error { return w.archives(r.Archives) })
	case r.NPM != nil:
		return s.layer(s.key("npm", r.NPM), s.npmLayer(*r.NPM))
	default:
		return s.layer(s.key("go", runtime.Version(), r.Go), s.goLayer(*r.Go))
	}
}

// file writes a file into the layer, after any missing parent folders.
func (w *layerWriter) file(name string, mode int64, content []byte) error {
	name = strings.TrimPrefix(name, "/")
	if err := w.folders(path.Dir(name)); err != nil {
		return err
	}
	return w.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, bytes.NewReader(content))
}

func (w *layerWriter) folders(dir string) error {
	if dir == "." || w.written[dir+"/"] {
		return nil
	}
	if err := w.folders(path.Dir(dir)); err != nil {
		return err
	}
	return w.add(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
}

func (w *layerWriter) files(files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.file(name, 0o644, []byte(files[name])); err != nil {
			return err
		}
	}
	return nil
}

func (w *layerWriter) archives(archives map[string]archive) error {
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		content, err := archives[name].zip()
		if err != nil {
			return err
		}
		if err := w.file(name, 0o644, content); err != nil {
			return err
		}
	}
	return nil
}

// zip returns the archive as a zip file. It stores inner archives without compression, as Spring
// Boot does. The manifest is the first entry, as in any jar.
func (a archive) zip() ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	names := slices.SortedFunc(maps.Keys(a), func(x, y string) int {
		return strings.Compare(strings.TrimPrefix(x, "META-INF/"), strings.TrimPrefix(y, "META-INF/"))
	})
	if i := slices.Index(names, "META-INF/MANIFEST.MF"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "META-INF/MANIFEST.MF")
	}
	for _, name := range names {
		content, method := []byte(a[name].Content), zip.Deflate
		if a[name].Archive != nil {
			var err error
			if content, err = a[name].Archive.zip(); err != nil {
				return nil, err
			}
			method = zip.Store
		}
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: created})
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(content); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}

// folder copies a local folder into the layer, to the path dir.
func (w *layerWriter) folder(from, dir string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Join(dir, filepath.ToSlash(rel)), "/")
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			if err := w.folders(path.Dir(name)); err != nil {
				return err
			}
			return w.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
		}
		content, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return w.file(name, 0o644, content)
	})
}

// npmLayer returns a function that writes a layer with npm packages. If the recipe has no manifest,
// the layer contains only the installed modules.
func (s *store) npmLayer(r npmRecipe) func(*layerWriter) error {
	return func(w *layerWriter) error {
		dir := s.TempDir()
		manifest := r.Manifest
		if manifest == "" {
			manifest = "{}"
		}
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(manifest), 0o644); err != nil {
			return err
		}
		args := []string{"install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact"}
		if err := s.run(dir, "npm", append(args, r.Packages...)...); err != nil {
			return err
		}
		if r.Manifest == "" {
			return w.folder(filepath.Join(dir, "node_modules"), path.Join(r.Dir, "node_modules"))
		}
		return w.folder(dir, r.Dir)
	}
}

// goLayer returns a function that writes a layer with a Go program that imports the packages.
func (s *store) goLayer(r goRecipe) func(*layerWriter) error {
	return func(w *layerWriter) error {
		dir := s.TempDir()
		source := "package main\n\nimport (\n"
		for _, name := range r.Imports {
			source += fmt.Sprintf("\t_ %q\n", name)
		}
		source += ")\n\nfunc main() { println(\"ready\") }\n"
		mod := "module " + r.Module + "\n\ngo 1.24\n"
		for name, content := range map[string]string{"main.go": source, "go.mod": mod} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				return err
			}
		}
		for _, m := range r.Require {
			if err := s.run(dir, "go", "mod", "edit", "-require="+m); err != nil {
				return err
			}
		}
		if err := s.run(dir, "go", "mod", "tidy"); err != nil {
			return err
		}
		if err := s.run(dir, "go", "build", "-trimpath", "-buildvcs=false", "-o", "program", "."); err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, "program"))
		if err != nil {
			return err
		}
		return w.file(r.Path, 0o755, content)
	}
}

// run runs a program in the folder dir.
func (s *store) run(dir, name string, args ...string) error {
	cmd := exec.CommandContext(s.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// distrolessLayer returns a function that writes the files of some Debian packages. As in the
// distroless images, dpkg's record of each package is a separate file.
func (s *store) distrolessLayer(packages []string) func(*layerWriter) error {
	return func(w *layerWriter) error {
		tree := s.tree(packages)
		defer os.Remove(tree)
		info := map[string]string{}
		err := eachEntry(s.Context(), tree, func(h *tar.Header, r io.Reader) error {
			if dir := "var/lib/dpkg/"; h.Name != dir+"status" && path.Dir(h.Name) != dir+"info" {
				return nil
			}
			data, err := io.ReadAll(r)
			info[path.Base(h.Name)] = string(data)
			return err
		})
		if err != nil {
			return err
		}
		owned := map[string]bool{}
		for _, name := range packages {
			if err := w.register(name, info, owned); err != nil {
				return err
			}
		}
		return eachEntry(s.Context(), tree, func(h *tar.Header, r io.Reader) error {
			if !owned[strings.TrimSuffix(h.Name, "/")] || w.written[h.Name] {
				return nil
			}
			return w.add(h, r)
		})
	}
}

// register writes dpkg's record of an installed package, and adds the files of the package to
// owned.
func (w *layerWriter) register(name string, info map[string]string, owned map[string]bool) error {
	record, ok := stanza(info["status"], name)
	if !ok {
		return fmt.Errorf("package %s is not installed", name)
	}
	list, sums := info[name+".list"], info[name+".md5sums"]
	if list == "" {
		list, sums = info[name+":amd64.list"], info[name+":amd64.md5sums"]
	}
	for file := range strings.Lines(list) {
		// A package may list a path in /lib, although /lib is a link to /usr/lib.
		owned[strings.Trim(file, "/.\n")] = true
		owned["usr/"+strings.Trim(file, "/.\n")] = true
	}
	if err := w.file("var/lib/dpkg/status.d/"+name+".md5sums", 0o644, []byte(sums)); err != nil {
		return err
	}
	return w.file("var/lib/dpkg/status.d/"+name, 0o644, []byte(record+"\n"))
}

// stanza returns a package's record in dpkg's status file.
func stanza(status, name string) (string, bool) {
	for s := range strings.SplitSeq(status, "\n\n") {
		if strings.HasPrefix(s, "Package: "+name+"\n") {
			return s, true
		}
	}
	return "", false
}

// plantDeb returns dpkg's status file with the version of all binary packages of a source package
// changed.
func plantDeb(status, source, version string) (string, error) {
	all := strings.Split(status, "\n\n")
	found := false
	for i, s := range all {
		lines := strings.Split(s, "\n")
		name, versionLine, sourceLine := "", -1, -1
		for j, line := range lines {
			switch key, value, _ := strings.Cut(line, ": "); key {
			case "Package":
				name = value
			case "Version":
				versionLine = j
			case "Source":
				sourceLine = j
				name, _, _ = strings.Cut(value, " ")
			}
		}
		if name != source || versionLine < 0 {
			continue
		}
		found = true
		lines[versionLine] = "Version: " + version
		if sourceLine >= 0 {
			lines[sourceLine] = "Source: " + source
		}
		all[i] = strings.Join(lines, "\n")
	}
	if !found {
		return "", fmt.Errorf("no package of the source %s is installed", source)
	}
	return strings.Join(all, "\n\n"), nil
}
