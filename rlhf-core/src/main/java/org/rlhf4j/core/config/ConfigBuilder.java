package org.rlhf4j.core.config;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.rlhf4j.core.RlhfException;
import org.slf4j.LoggerFactory;

/**
 * Collects the values of a configuration record from a YAML file, a command line or Java code, and
 * builds it. The file gives way to everything else but fallbacks. Problems do not stop the
 * collection: {@link #build()} reports all of them at once.
 *
 * @param <C> the record
 */
public final class ConfigBuilder<C extends Record> {
  private final Class<C> type;
  private final Schema schema;
  private final Problems problems = new Problems();
  private final Map<String, Given> fromFile = new LinkedHashMap<>();
  private final Map<String, Given> given = new LinkedHashMap<>();
  private final Map<String, Given> fallbacks = new LinkedHashMap<>();
  private boolean pathsMustExist;
  private boolean fileUnreadable;
  private Consumer<String> warningSink = LoggerFactory.getLogger(ConfigBuilder.class)::warn;

  /**
   * A value and where it stands.
   *
   * @param value as written
   * @param place begins every message about it
   */
  private record Given(RawValue value, String place) {}

  ConfigBuilder(Class<C> type) {
    this.type = type;
    this.schema = Schema.of(type);
  }

  /** Takes warnings, one line each, instead of the log. */
  public ConfigBuilder<C> onWarning(Consumer<String> sink) {
    this.warningSink = sink;
    return this;
  }

  /** Also asks for the files and folders that a run would read. */
  public ConfigBuilder<C> requirePaths() {
    this.pathsMustExist = true;
    return this;
  }

  /** Reads a YAML file of {@code key: value} lines. */
  public ConfigBuilder<C> file(Path file) {
    Optional<List<YamlFile.Entry>> entries = YamlFile.read(file, problems);
    fileUnreadable |= entries.isEmpty();
    for (YamlFile.Entry entry : entries.orElse(List.of())) {
      String where = file + " line " + entry.line() + ": ";
      if (entry.key().equals("<<")) {
        problems.add(where + YamlFile.NO_ALIASES);
        continue;
      }
      String name = known(entry.key(), where, "key '", "");
      if (name == null) {
        continue;
      }
      Given before = fromFile.putIfAbsent(name, new Given(entry.value(), where + entry.key()));
      if (before != null) {
        problems.add(where + entry.key() + ": set twice, first as " + before.place());
      }
    }
    return this;
  }

  /** Takes {@code --key value} from a command line. */
  public ConfigBuilder<C> option(String key, String value) {
    String name = known(key, "", "option '", "--");
    if (name != null) {
      Given option = new Given(new RawValue.Text(value, true), "--" + key);
      Given before = given.putIfAbsent(name, option);
      if (before != null) {
        problems.add("--" + key + ": set twice, first as " + before.place());
      }
    }
    return this;
  }

  /**
   * Sets a key from Java code; the last call counts.
   *
   * @param key the key in snake_case
   * @param value a number, boolean, text, path, enum constant, a collection of these, or null for
   *     none
   */
  public ConfigBuilder<C> set(String key, Object value) {
    String name = known(key, "", "key '", "");
    if (name != null) {
      given.put(name, new Given(raw(value), key));
    }
    return this;
  }

  /** Adds a problem found outside, to be reported with the others. */
  public ConfigBuilder<C> problem(String line) {
    problems.add(line);
    return this;
  }

  private static RawValue raw(Object value) {
    if (value == null) {
      return new RawValue.Nothing();
    } else if (value instanceof Collection<?> values) {
      return new RawValue.Items(
          values.stream().map(each -> Schema.written(each).toString()).toList());
    }
    return new RawValue.Text(Schema.written(value).toString(), false);
  }

  /** The key's own name; null, and a problem, if there is no such key. */
  private String known(String key, String where, String noun, String dashes) {
    if (schema.key(key) != null) {
      return key;
    }
    String name = schema.nameOfAlias(key);
    if (name != null) {
      problems.warn(where + dashes + key + " is called " + dashes + name + " here; it was taken");
      return name;
    }
    problems.add(
        where
            + "unknown "
            + noun
            + dashes
            + key
            + "', "
            + Nearest.hint(key, schema.names()).replaceFirst("'", "'" + dashes));
    return null;
  }

  /**
   * Builds and checks the record. Where it is {@link Completing}, keys that are given nowhere have
   * the defaults that it finds.
   *
   * @throws RlhfException with exit status 2, whose message has one line per problem; 3 if nothing
   *     but missing files and folders is wrong
   */
  public C build() {
    fallbacks.clear();
    Set<String> warnings = new LinkedHashSet<>();
    try {
      C config = build(warnings);
      if (!(config instanceof Completing completing)) {
        return config;
      }
      completing.complete(
          new Completing.Defaults() {
            @Override
            public void put(String key, Object value, String place) {
              if (schema.key(key) == null) {
                throw new IllegalArgumentException(type + " has no key " + key);
              }
              fallbacks.put(key, new Given(raw(value), place));
            }

            @Override
            public void warn(String line) {
              warnings.add(line);
            }
          });
      return fallbacks.isEmpty() ? config : build(warnings);
    } finally {
      warnings.forEach(warningSink);
    }
  }

  private C build(Set<String> warnings) {
    Set<String> set = new HashSet<>();
    Problems found = new Problems(set::contains);
    problems.lines().forEach(found::add);
    problems.warnings().forEach(found::warn);
    Map<String, Object> values = new LinkedHashMap<>();
    for (ConfigKey key : schema.keys()) {
      Object value = value(key, found);
      values.put(key.name(), value);
      boolean isGiven = given.containsKey(key.name()) || fromFile.containsKey(key.name());
      if (isGiven && !Objects.equals(value, Schema.defaultOf(key))) {
        set.add(key.name());
      }
    }
    Record record = schema.build(values, found);
    warnings.addAll(found.warnings());
    Problems missing = new Problems();
    if (pathsMustExist) {
      schema.keys().forEach(key -> missing(key, values.get(key.name()), missing));
    }
    if (found.lines().isEmpty() && !missing.lines().isEmpty()) {
      throw RlhfException.input(String.join("\n", missing.lines()));
    }
    missing.lines().forEach(found::add);
    throwAll(found);
    return type.cast(record);
  }

  private void missing(ConfigKey key, Object value, Problems missing) {
    Key.Existing existing = key.declaration().existing();
    if (existing == Key.Existing.NOTHING || value == null) {
      return;
    }
    boolean url = existing == Key.Existing.MODEL_FOLDER_OR_URL;
    boolean folder = url || existing == Key.Existing.MODEL_FOLDER;
    Given source = source(key);
    String place = source == null ? key.name() : source.place();
    List<?> paths = value instanceof List<?> list ? list : List.of(value);
    for (Object each : paths) {
      if (url && ServerUrl.isMeant(each.toString())) {
        continue;
      }
      Path path = Path.of(each.toString());
      if (!Files.exists(path)) {
        String other = url ? "; a server's URL begins with http:// or https://" : "";
        missing.add(place + ": no such " + (folder ? "folder: " : "file: ") + path + other);
      } else if (Files.isDirectory(path) != folder) {
        missing.add(place + ": is no " + (folder ? "folder: " : "file: ") + path);
      }
    }
  }

  private Given source(ConfigKey key) {
    return given.getOrDefault(
        key.name(), fromFile.getOrDefault(key.name(), fallbacks.get(key.name())));
  }

  private Object value(ConfigKey key, Problems found) {
    Given source = source(key);
    if (source == null) {
      // What an unreadable file would have set is unknown; the file itself is the problem.
      found.require(!key.required() || fileUnreadable, key.name() + ": is required and not given");
      return Schema.defaultOf(key);
    }
    try {
      return ValueReader.read(key, source.value());
    } catch (IllegalArgumentException e) {
      found.add(source.place() + ": " + e.getMessage());
      return Schema.defaultOf(key);
    }
  }

  static void throwAll(Problems problems) {
    List<String> lines = problems.lines();
    if (!lines.isEmpty()) {
      throw RlhfException.config(String.join("\n", lines));
    }
  }
}
