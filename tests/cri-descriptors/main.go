// SPDX-License-Identifier: Apache-2.0

// cri-descriptors compares our CRI schema with the published one, in both directions.
//
// The argument is a descriptor set of ipc/cri/api.proto. What is compared is all that a peer can observe:
// names, numbers, types, labels, presence, packing, JSON names, deprecation, enum values, methods and
// which side streams. Comments, order and file options are our own affair.
// Exit: 0 equal, 1 different, 2 could not compare.
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	published "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// facts describes a schema as one line of text per named thing, so that comparing two schemas is
// comparing two maps and a difference prints itself.
type facts struct {
	lines                     map[string]string
	methods, messages, fields int
}

func (f *facts) add(kind string, d protoreflect.Descriptor, what string) {
	f.lines[kind+" "+string(d.FullName())] = what
}

func (f *facts) addEnum(e protoreflect.EnumDescriptor) {
	f.add("enum", e, fmt.Sprintf("closed=%t reserved=%d", e.IsClosed(), e.ReservedRanges().Len()))
	for i := range e.Values().Len() {
		// A value's full name leaves its enum out, as its scope is that of the enum: name both.
		v := e.Values().Get(i)
		f.lines[fmt.Sprintf("value %s %s", e.FullName(), v.Name())] = fmt.Sprint(v.Number())
	}
}

func fieldType(d protoreflect.FieldDescriptor) string {
	switch {
	case d.IsMap():
		return fmt.Sprintf("map<%s, %s>", fieldType(d.MapKey()), fieldType(d.MapValue()))
	case d.Message() != nil:
		return string(d.Message().FullName())
	case d.Enum() != nil:
		return string(d.Enum().FullName())
	}
	return d.Kind().String()
}

func (f *facts) addMessage(m protoreflect.MessageDescriptor) {
	if m.IsMapEntry() {
		return // seen as the type of its field
	}
	f.messages++
	f.add("message", m, fmt.Sprintf("fields=%d oneofs=%d reserved=%d",
		m.Fields().Len(), m.Oneofs().Len(), m.ReservedRanges().Len()))
	for i := range m.Fields().Len() {
		d := m.Fields().Get(i)
		options, _ := d.Options().(*descriptorpb.FieldOptions)
		f.fields++
		f.add("field", d, fmt.Sprintf("= %d: %s %s map=%t presence=%t packed=%t json=%s deprecated=%t",
			d.Number(), d.Cardinality(), fieldType(d), d.IsMap(), d.HasPresence(), d.IsPacked(), d.JSONName(),
			options.GetDeprecated()))
	}
	for i := range m.Enums().Len() {
		f.addEnum(m.Enums().Get(i))
	}
	for i := range m.Messages().Len() {
		f.addMessage(m.Messages().Get(i))
	}
}

func factsOf(file protoreflect.FileDescriptor) *facts {
	f := &facts{lines: map[string]string{}}
	f.lines["package"] = string(file.Package())
	f.lines["syntax"] = file.Syntax().String()
	for i := range file.Enums().Len() {
		f.addEnum(file.Enums().Get(i))
	}
	for i := range file.Messages().Len() {
		f.addMessage(file.Messages().Get(i))
	}
	for i := range file.Services().Len() {
		s := file.Services().Get(i)
		f.add("service", s, fmt.Sprintf("methods=%d", s.Methods().Len()))
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			f.methods++
			f.add("method", m, fmt.Sprintf("%s -> %s, client streams=%t, server streams=%t",
				m.Input().FullName(), m.Output().FullName(), m.IsStreamingClient(), m.IsStreamingServer()))
		}
	}
	return f
}

func load(path string) (protoreflect.FileDescriptor, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(set.File) != 1 {
		return nil, fmt.Errorf("%s: %d files, not one", path, len(set.File))
	}
	return protodesc.NewFile(set.File[0], nil)
}

// compare prints each difference and returns how many there are.
func compare(ours, theirs map[string]string) int {
	n := 0
	report := func(format string, args ...any) {
		n++
		fmt.Printf(format+"\n", args...)
	}
	for _, k := range slices.Sorted(maps.Keys(ours)) {
		switch their, ok := theirs[k]; {
		case !ok:
			report("only ours: %s (%s)", k, ours[k])
		case their != ours[k]:
			report("differs: %s\n    ours   %s\n    theirs %s", k, ours[k], their)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(theirs)) {
		if _, ok := ours[k]; !ok {
			report("only theirs: %s (%s)", k, theirs[k])
		}
	}
	return n
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cri-descriptors DESCRIPTOR-SET")
		os.Exit(2)
	}
	file, err := load(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "cri-descriptors:", err)
		os.Exit(2)
	}

	ours := factsOf(file)
	theirs := factsOf(published.File_staging_src_k8s_io_cri_api_pkg_apis_runtime_v1_api_proto)
	if n := compare(ours.lines, theirs.lines); n != 0 {
		fmt.Printf("%d differences\n", n)
		os.Exit(1)
	}
	fmt.Printf("%d RPCs, %d messages, %d fields compared\n", ours.methods, ours.messages, ours.fields)
}
