package org.rlhf4j.core.config;

import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** The keys of a record class, inner records flattened, and the way between values and records. */
final class Schema {
  private final Class<? extends Record> type;
  private final Map<String, ConfigKey> keys = new LinkedHashMap<>();

  /** Keys that users cannot set here, each at its default. */
  private final Map<String, ConfigKey> fixed = new LinkedHashMap<>();

  private final Map<String, String> namesByAlias = new HashMap<>();

  /** The last that was met while the keys are collected. */
  private String heading = "";

  private Schema(Class<? extends Record> type) {
    this.type = type;
    collect(type, Map.of(), Set.of());
    for (ConfigKey key : keys.values()) {
      for (String alias : key.declaration().aliases()) {
        String other = namesByAlias.put(alias, key.name());
        if (other != null || keys.containsKey(alias)) {
          throw new IllegalStateException(type + ": the alias " + alias + " has two meanings");
        }
      }
    }
  }

  static Schema of(Class<? extends Record> type) {
    return new Schema(type);
  }

  private void collect(
      Class<? extends Record> record, Map<String, String> defaults, Set<String> without) {
    for (RecordComponent component : record.getRecordComponents()) {
      Flattened flattened = component.getAnnotation(Flattened.class);
      if (flattened != null) {
        Map<String, String> innerDefaults = new HashMap<>();
        for (Flattened.Default each : flattened.value()) {
          innerDefaults.put(each.key(), each.value());
        }
        startHeading(flattened.heading());
        collect(
            component.getType().asSubclass(Record.class),
            innerDefaults,
            Set.of(flattened.without()));
        requireKnown(record, innerDefaults.keySet());
        requireKnown(record, Arrays.asList(flattened.without()));
        continue;
      }
      Key key = component.getAnnotation(Key.class);
      if (key == null) {
        throw new IllegalStateException(record + ": " + component.getName() + " lacks @Key");
      }
      startHeading(key.heading());
      String name = snakeCase(component.getName());
      String defaultValue = defaults.getOrDefault(name, key.defaultValue());
      ConfigKey configKey =
          new ConfigKey(name, component.getGenericType(), key, heading, defaultValue);
      Map<String, ConfigKey> target = without.contains(name) ? fixed : keys;
      if (target.put(name, configKey) != null) {
        throw new IllegalStateException(type + ": two keys are called " + name);
      }
    }
  }

  private void startHeading(String title) {
    heading = title.isEmpty() ? heading : title;
  }

  private void requireKnown(Class<?> record, Iterable<String> names) {
    for (String name : names) {
      if (!keys.containsKey(name) && !fixed.containsKey(name)) {
        throw new IllegalStateException(record + " changes a key that does not exist: " + name);
      }
    }
  }

  static String snakeCase(String camelCase) {
    return camelCase.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
  }

  /** The keys that users may set, in the record's order. */
  List<ConfigKey> keys() {
    return List.copyOf(keys.values());
  }

  Set<String> names() {
    return keys.keySet();
  }

  ConfigKey key(String name) {
    return keys.get(name);
  }

  /** The key that other tools call by this name; null if none. */
  String nameOfAlias(String alias) {
    return namesByAlias.get(alias);
  }

  /** The default as a typed value; a stand-in where there is none. */
  static Object defaultOf(ConfigKey key) {
    return key.required()
        ? key.placeholderValue()
        : ValueReader.read(key, new RawValue.Text(key.defaultValue(), true));
  }

  /**
   * Builds the record and checks its rules.
   *
   * @param values a typed value per key
   * @param problems takes the rules that do not hold
   */
  Record build(Map<String, Object> values, Problems problems) {
    return build(type, values, problems);
  }

  private Record build(
      Class<? extends Record> record, Map<String, Object> values, Problems problems) {
    RecordComponent[] components = record.getRecordComponents();
    Object[] arguments = new Object[components.length];
    for (int i = 0; i < components.length; i++) {
      if (components[i].isAnnotationPresent(Flattened.class)) {
        arguments[i] = build(components[i].getType().asSubclass(Record.class), values, problems);
      } else {
        String name = snakeCase(components[i].getName());
        arguments[i] = fixed.containsKey(name) ? defaultOf(fixed.get(name)) : values.get(name);
      }
    }
    Class<?>[] types =
        Arrays.stream(components).map(RecordComponent::getType).toArray(Class<?>[]::new);
    Record built = construct(record, types, arguments);
    if (built instanceof Checked checked) {
      checked.check(problems);
    }
    return built;
  }

  private static Record construct(
      Class<? extends Record> record, Class<?>[] types, Object[] arguments) {
    try {
      Constructor<? extends Record> constructor = record.getDeclaredConstructor(types);
      constructor.setAccessible(true);
      return constructor.newInstance(arguments);
    } catch (InvocationTargetException e) {
      throw new IllegalStateException(record + " must not throw; it can implement Checked", e);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("cannot build " + record, e);
    }
  }

  /** The typed values of a record, by key. */
  Map<String, Object> values(Record record) {
    Map<String, Object> values = new LinkedHashMap<>();
    values(record, values);
    return values;
  }

  private void values(Record record, Map<String, Object> values) {
    for (RecordComponent component : record.getClass().getRecordComponents()) {
      Object value = read(component, record);
      if (component.isAnnotationPresent(Flattened.class)) {
        values((Record) value, values);
      } else if (keys.containsKey(snakeCase(component.getName()))) {
        values.put(snakeCase(component.getName()), value);
      }
    }
  }

  /** Calls {@link Checked#check} on the record and every inner one. */
  static void check(Record record, Problems problems) {
    for (RecordComponent component : record.getClass().getRecordComponents()) {
      if (component.isAnnotationPresent(Flattened.class)) {
        check((Record) read(component, record), problems);
      }
    }
    if (record instanceof Checked checked) {
      checked.check(problems);
    }
  }

  private static Object read(RecordComponent component, Record record) {
    try {
      component.getAccessor().setAccessible(true);
      return component.getAccessor().invoke(record);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("cannot read " + component, e);
    }
  }

  /** A typed value as a user would write it: text, or a list of texts. */
  static Object written(Object value) {
    if (value == null || (value instanceof List<?> list && list.isEmpty())) {
      return Key.NONE;
    } else if (value instanceof List<?> list) {
      List<Object> texts = new ArrayList<>();
      list.forEach(element -> texts.add(written(element)));
      return texts;
    } else if (value instanceof Enum<?> constant) {
      return Choices.text(constant);
    } else if (value instanceof Number || value instanceof Boolean) {
      return value;
    }
    return value.toString();
  }
}
