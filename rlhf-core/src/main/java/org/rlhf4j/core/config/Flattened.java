package org.rlhf4j.core.config;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * A component that is itself a configuration record. Its keys stand beside the outer record's own,
 * without a prefix.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.RECORD_COMPONENT)
public @interface Flattened {
  /** In help, the title of the keys from the inner record's first on; empty: none of its own. */
  String heading() default "";

  /** Defaults that differ from, or are missing in, the inner record. */
  Default[] value() default {};

  /** Keys of the inner record that have no meaning here: unknown to users, held at the default. */
  String[] without() default {};

  /** Another default for one key. */
  @Documented
  @Retention(RetentionPolicy.RUNTIME)
  @Target({})
  @interface Default {
    /** The key in snake_case. */
    String key();

    /** The default as a user would write it. */
    String value();
  }
}
