package org.rlhf4j.core.config;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * One key of a configuration record: the only place for its meaning, default and range. The key's
 * name in YAML and on the command line is the component's name in snake_case.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.RECORD_COMPONENT)
public @interface Key {
  /** The {@link #defaultValue()} of a key that has none and must be given. */
  String REQUIRED = "<required>";

  /** The text of an absent value: null for a single value, the empty list for a list. */
  String NONE = "none";

  /** One line that says what the key does. */
  String doc();

  /** In help, the title of the keys from this one on; empty: they go on under the one before. */
  String heading() default "";

  /** The default as a user would write it. */
  String defaultValue() default REQUIRED;

  /** A number must be at least this. */
  double atLeast() default Double.NEGATIVE_INFINITY;

  /** A number must be greater than this. */
  double above() default Double.NEGATIVE_INFINITY;

  /** A number must be at most this. */
  double atMost() default Double.POSITIVE_INFINITY;

  /** A number must be less than this. */
  double below() default Double.POSITIVE_INFINITY;

  /** The forms that a text may take; empty: any. {@code N} stands for a whole number. */
  String[] choices() default {};

  /** Names that other tools use for the same key; accepted with a warning. */
  String[] aliases() default {};

  /** What must stand at the path before a run can start. */
  Existing existing() default Existing.NOTHING;

  /** Whether a resumed run may use another value than the run it continues. */
  boolean mayChangeOnResume() default false;

  /** What a path key must find. */
  enum Existing {
    /** The path may be absent. */
    NOTHING,
    /** A file, or several. */
    FILE,
    /** The folder of a model. */
    MODEL_FOLDER,
    /** The folder of a model, or the URL of a server, which is not asked. */
    MODEL_FOLDER_OR_URL
  }
}
