package policy

import (
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// Scope is what a policy says differently for some images. All scopes that match
// an image apply, in the file's order.
//
// A rule with the name of one that applies already takes its place; others are
// added behind. So it is with every list of named rules. Of a mapping, such as
// sbom, the keys that are written replace those of the policy. Exceptions are
// added, and are for these images alone.
type Scope struct {
	Position Position `json:"position"`
	// Match are patterns over the repository, of which one must match. "*"
	// stands for any run of characters. Names are compared in their canonical
	// form: the host in lower case and without the ports 80 and 443, docker.io for
	// every name of Docker Hub, localhost for every loopback address. A pattern
	// without a registry is about Docker Hub, as a reference is: "team/*" means
	// docker.io/team/*, "nginx" docker.io/library/nginx. Images outside registries
	// have their transport in front: "oci:*", "docker-archive:builds/*"; no other
	// pattern matches them, except "*" alone. Mandatory; one pattern need not be a
	// list. Example: "match: registry.example/legacy/*".
	Match []string `json:"match"`
	// Keys are what the scope spells out, such as "rules" and
	// "sbom.minPackages".
	Keys []string `json:"keys"`
	// Policy holds their values. Nothing else in it is set.
	Policy Policy `json:"policy"`
}

// String returns the patterns, as violations show them.
func (s *Scope) String() string { return strings.Join(s.Match, ", ") }

func (s *Scope) matches(n imageName) bool {
	for _, pattern := range s.Match {
		if newImagePattern(pattern).match(n) {
			return true
		}
	}
	return false
}

func (d *decoder) scopes(to *[]Scope) reader {
	return d.list(maxScopes, func(n *yaml.Node) {
		s := Scope{Position: d.position(n), Policy: Policy{File: d.file}}
		fields := append([]field{
			mandatory("match", d.patterns(&s.Match)),
			optional("exceptions", d.exceptions(&s.Policy.Exceptions)),
		}, d.sections(&s.Policy, optional)...)
		d.mapping(n, "an override", fields...)
		s.Keys = spelledOut(n)
		if n.Kind == yaml.MappingNode && len(s.Keys) == 0 {
			d.problem(n, "an override without any section says nothing")
		}
		*to = append(*to, s)
	})
}

// patterns reads one pattern or a list of them.
func (d *decoder) patterns(to *[]string) reader {
	list := d.texts(to, func(string) error { return nil }, "nothing would match")
	return func(key, value *yaml.Node) {
		if value.Kind != yaml.ScalarNode {
			list(key, value)
			return
		}
		var pattern string
		d.text(&pattern)(key, value)
		*to = []string{pattern}
	}
}

// spelledOut returns the keys of an override, those of its mappings with a dot.
func spelledOut(n *yaml.Node) []string {
	keys := []string{}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		switch {
		case key == "match":
		default:
			keys = appendKeys(keys, key, value)
		}
	}
	return keys
}

// appendKeys appends a key, or those below it.
func appendKeys(keys []string, key string, value *yaml.Node) []string {
	if value.Kind != yaml.MappingNode {
		return append(keys, key)
	}
	for j := 0; j+1 < len(value.Content); j += 2 {
		keys = appendKeys(keys, key+"."+value.Content[j].Value, value.Content[j+1])
	}
	return keys
}

// scoped is a policy as it is for one image, and where it differs.
type scoped struct {
	*Policy
	at   map[Position]*Scope // of rules and exceptions
	keys map[string]override
	// matched is whether some scope is for the image.
	matched bool
}

// override says which scope has replaced a key of a mapping.
type override struct {
	instead Position // of the policy's own mapping
	by      *Scope
}

// forImage returns p as it is for the images of a repository.
func (p *Policy) forImage(repository string) scoped {
	s := scoped{Policy: p}
	n := newImageName(repository)
	for i := range p.Images {
		if scope := &p.Images[i]; scope.matches(n) {
			s.matched = true
			s.apply(scope)
		}
	}
	return s
}

func (s *scoped) apply(scope *Scope) {
	if s.at == nil {
		p := *s.Policy
		s.Policy, s.at, s.keys = &p, make(map[Position]*Scope), make(map[string]override)
	}
	to, from := reflect.ValueOf(s.Policy).Elem(), reflect.ValueOf(&scope.Policy).Elem()
	for _, key := range scope.Keys {
		name, inner, nested := strings.Cut(key, ".")
		to, from := fieldNamed(to, name), fieldNamed(from, name)
		switch {
		case nested:
			o := override{instead: to.FieldByName("Position").Interface().(Position), by: scope}
			for _, changed := range setKey(to, from, inner) {
				s.keys[name+"."+changed] = o
			}
		case to.Kind() == reflect.Slice:
			to.Set(s.merge(scope, to, from))
		default:
			s.keys[key] = override{by: scope}
			to.Set(from)
		}
	}
}

// setKey copies the value of a key below a section and returns the keys that it changes.
// One effect for a group of effects changes those that it stands for.
func setKey(to, from reflect.Value, key string) []string {
	outer, inner, nested := strings.Cut(key, ".")
	to, from = fieldNamed(to, outer), fieldNamed(from, outer)
	switch {
	case nested:
		fieldNamed(to, inner).Set(fieldNamed(from, inner))
	case isEffectGroup(to.Type()):
		return setEffects(to, from, outer)
	default:
		to.Set(from)
	}
	return []string{key}
}

// merge returns a new list with the elements of both: one of from takes the
// place of that with its name, where they have names.
func (s *scoped) merge(scope *Scope, to, from reflect.Value) reflect.Value {
	merged := reflect.AppendSlice(reflect.MakeSlice(to.Type(), 0, to.Len()+from.Len()), to)
	places := map[string]int{}
	for i := range merged.Len() {
		if name := merged.Index(i).FieldByName("Name"); name.IsValid() {
			places[name.String()] = i
		}
	}
	for i := range from.Len() {
		element := from.Index(i)
		if at := element.FieldByName("Position").Interface().(Position); at != (Position{}) {
			s.at[at] = scope
		}
		if name := element.FieldByName("Name"); name.IsValid() {
			if place, ok := places[name.String()]; ok {
				merged.Index(place).Set(element)
				continue
			}
		}
		merged = reflect.Append(merged, element)
	}
	return merged
}

// fieldNamed returns the field with that key in the file, which is also its name
// in JSON. That there is none is a mistake in this package: the decoder has
// accepted the key.
func fieldNamed(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name == key {
			return v.Field(i)
		}
	}
	panic(fmt.Sprintf("%s has no field for the key %q", v.Type(), key))
}

// locate says in v which scope it comes from, if it comes from one.
func (s *scoped) locate(v *Violation) {
	if scope, ok := s.at[v.Position]; ok {
		v.Scope = scope.String()
		return
	}
	// A rule can have the name of a key: it stands elsewhere.
	if o, ok := s.keys[v.effectKey()]; ok && o.instead == v.Position {
		v.Position, v.Scope = o.by.Position, o.by.String()
	}
}
